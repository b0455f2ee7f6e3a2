"""What a message says in its thread: "Yes, from Monday on." is a decision only together with what was asked before it."""

from dataclasses import dataclass

from learner.study import statements
from learner.study.statements import Statement
from storage import memories, messages, persons
from storage.database import Connection
from storage.messages import Message

_BACK = 10
"""So many messages of a thread are looked through for the question: farther back nobody replies without saying to what."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The `statements` of a message; the first says the words of the message `replied_to` too, where there is one."""

    statements: list[Statement]
    replied_to: int | None


async def heard(connection: Connection, message: Message, place: str) -> Heard:
    """What a message says, with `place` as its context: without what somebody asked to forget of it.

    Its author is named where it speaks of itself, unless that person does not want to be named.
    """
    asked = await _asked(connection, message)
    question = statements.asks(asked.text) if asked else ""
    if not statements.of_message(message.text, place, message.author, question):
        return Heard([], None)  # as most of a channel: nothing else needs to be known of it
    forgotten = (await memories.forgotten(connection, [message.id])).get(message.id, [])
    person = await persons.get(connection, message.person_id) if message.person_id else None
    author = message.author if person is None or person.settings.get("name", True) else ""
    found = statements.of_message(message.text, place, author, question, forgotten)
    joined = asked is not None and any(statement.ordinal == 0 for statement in found)
    return Heard(found, asked.id if asked and joined else None)


async def _asked(connection: Connection, message: Message) -> Message | None:
    """The message whose question this one replies to, if it does.

    The last question of somebody else to which nobody has replied before: what comes after a reply may be meant for that one.
    """
    if message.thread is None or not statements.replies(message.text):
        return None
    for earlier in await messages.earlier(connection, message, _BACK):
        if statements.asks(earlier.text):
            return earlier if earlier.author != message.author else None
        if statements.replies(earlier.text):
            return None
    return None

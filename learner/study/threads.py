"""What a reply leans on: "Yes, from Monday on." is a decision only together with what was asked before it in its thread."""

from dataclasses import dataclass

from learner.study import statements
from storage import messages
from storage.database import Connection
from storage.messages import Message

_BACK = 10
"""So many messages of a thread are looked through for the question: farther back nobody replies without saying to what."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that somebody replied to, and the message that asked it."""

    text: str
    message_id: int


async def replied_to(connection: Connection, message: Message) -> Question | None:
    """The question that a message leans on; None where it stands alone, or nothing was asked before it in its thread."""
    if message.thread is None or not statements.replies(message.text):
        return None
    for earlier in await messages.earlier(connection, message, _BACK):
        if asked := statements.asks(earlier.text):
            return Question(asked, earlier.id)
    return None

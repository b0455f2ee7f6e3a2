"""The ledger takes in what was written, said and corrected: documents and messages become memories."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from learner.engine.embedder import Embedder
from learner.overriding import override
from learner.recall import embed_statements
from learner.study import statements, threads
from storage import documents, examples, memories, messages, passages
from storage.database import Database
from storage.documents import Document
from storage.locks import hold
from storage.memories import Memory, NewMemory, State
from storage.messages import Message
from storage.teams import Team

STATES: tuple[State, ...] = ("noted", "studied", "learnt", "forgotten", "retracted")
_CHUNK = 256
_Noted: TypeAlias = tuple[Message | None, list[NewMemory]]
"""What a message says, or (None) a page."""


async def collect(
    database: Database, team: Team, embedder: Embedder, progress: Callable[[float], None] | None = None
) -> dict[str, int]:
    """Memories (state `noted`) of all documents and messages that have none yet, and vectors for all that lack them.

    Whether one may train is not settled here but every night anew (study.select.may_train): switches and audiences change.
    """
    async with database.team(team.id) as connection:
        pages = await documents.current(connection)
        said = await messages.current(connection)
    taken = await take_in(database, team, pages, said, progress)
    return {
        "documents": len(pages),
        "messages": len(said),
        "memories": len(taken),
        "embedded": await settle(database, team, embedder, taken),
    }


async def take_in(
    database: Database,
    team: Team,
    pages: Sequence[Document],
    said: Sequence[Message],
    progress: Callable[[float], None] | None = None,
) -> list[int]:
    """Memories of these documents and messages, where they have none yet, still without vectors; returns their ids."""
    async with database.team(team.id) as connection:
        from_pages, from_messages = await memories.noted(connection, [p.id for p in pages], [m.id for m in said])
        fresh = [message for message in said if message.id not in from_messages]
        heard = [await threads.heard(connection, message, f"#{message.channel}") for message in fresh]
    new: list[_Noted] = []
    for page in pages:
        if page.id not in from_pages:
            noted = [
                NewMemory(
                    statement=found.text,
                    context=found.context,
                    kind="document",
                    document_id=page.id,
                    audience_id=page.audience_id,
                    author=page.author,
                    said_at=page.written_at,
                )
                for found in statements.of_document(page.text, page.title)
            ]
            new.append((None, noted))
    for message, says in zip(fresh, heard, strict=True):
        noted = [
            NewMemory(
                statement=found.text,
                context=found.context,
                kind="message",
                message_id=message.id,
                audience_id=message.audience_id,
                person_id=message.person_id,
                author=message.author,
                said_at=message.said_at,
                replied_to=says.replied_to if found.ordinal == 0 else None,
            )
            for found in says.statements
        ]
        new.append((message, noted))
    saved: list[int] = []
    done = 0
    # A page is in the ledger whole or not at all: one with some of its memories counts as taken in.
    for some in _together(new):
        async with database.team(team.id) as connection:
            await hold(connection, "memories")
            # What was edited since it was read is read again, by whoever indexes it next.
            as_read = await messages.hold(connection, [message for message, _ in some if message])
            kept = [memory for message, noted in some if not message or message.id in as_read for memory in noted]
            saved += [memory.id for memory in await memories.save_all(connection, kept)]
        done += len(some)
        if progress:
            progress(0.5 * done / len(new))
    return saved


async def settle(database: Database, team: Team, embedder: Embedder, taken: Sequence[int] = ()) -> int:
    """After memories were `taken` in: all get their vectors, what is new overrides what it says otherwise, and what a
    sentence had overridden that an edit took away stands again. Returns how many lacked vectors.
    """
    async with database.team(team.id) as connection:
        bare = await memories.unembedded(connection, embedder.name)
    await _embed(database, team, embedder, bare)
    await override(database, team, embedder.name, sorted({*taken, *(memory.id for memory in bare)}))
    # Only now: the next revision of a sentence takes over what the one before had overridden.
    async with database.team(team.id) as connection:
        standing = await memories.restore(connection)
    await override(database, team, embedder.name, sorted(standing))
    return len(bare)


def _together(groups: Sequence[_Noted]) -> Iterator[list[_Noted]]:
    """Neighbouring groups, none of them parted, with some _CHUNK memories together."""
    some: list[_Noted] = []
    for group in groups:
        some.append(group)
        if sum(len(noted) for _, noted in some) >= _CHUNK:
            yield some
            some = []
    if some:
        yield some


async def _embed(database: Database, team: Team, embedder: Embedder, bare: Sequence[Memory]) -> None:
    """Vectors for these memories, and for what is told of any and their questions where those lack them."""
    for start in range(0, len(bare), _CHUNK):
        some = bare[start : start + _CHUNK]
        vectors = await embed_statements(embedder, [(memory.context, memory.statement) for memory in some])
        async with database.team(team.id) as connection:
            for memory, vector in zip(some, vectors, strict=True):
                await memories.embed(connection, memory.id, embedder.name, vector)
    async with database.team(team.id) as connection:
        await passages.renew(connection, embedder.name)
        asked = await examples.unembedded(connection, embedder.name)
    for start in range(0, len(asked), _CHUNK):
        questions = asked[start : start + _CHUNK]
        vectors = await embedder.embed([example.question for example in questions])
        async with database.team(team.id) as connection:
            for example, vector in zip(questions, vectors, strict=True):
                await examples.embed(connection, example.id, embedder.name, vector)

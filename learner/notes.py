"""The notes: what the team wrote and said, cut into statements that retrieval finds and an answer can quote."""

from collections.abc import Callable

from learner import ledger
from learner.engine.embedder import Embedder
from learner.recall import embed_statements
from learner.study import statements, threads
from storage import documents, examples, memories, messages, passages
from storage.database import Database
from storage.locks import hold
from storage.passages import NewPassage
from storage.teams import Team

_TOGETHER = 8
"""So many messages are embedded at a time: a person's question waits for no more."""


async def index(
    database: Database, team: Team, embedder: Embedder, progress: Callable[[int, int], None] | None = None
) -> int:
    """Makes passages for the documents and messages that have none yet, and memories for the ledger; returns how many passages.

    Each document is one transaction, and so are some messages: a kill in the middle loses nothing, the next call goes on.
    """
    async with database.team(team.id) as connection:
        pages = await documents.unindexed(connection, embedder.name)
        said = await messages.unindexed(connection, embedder.name)
    # In the ledger at once, not only tonight: a correction must find what it contradicts. And before it has passages: what
    # has them is never looked at again. Only what is new: a team that talks all day is not read anew every second.
    taken = await ledger.take_in(database, team, pages, said)
    made = 0
    for done, page in enumerate(pages):
        rows = await _rows(embedder, statements.of_document(page.text, page.title))
        async with database.team(team.id) as connection:
            await passages.replace(connection, document_id=page.id, embedder=embedder.name, rows=rows)
        made += len(rows)
        if progress:
            progress(done + 1, len(pages) + len(said))
    for start in range(0, len(said), _TOGETHER):
        some = said[start : start + _TOGETHER]
        async with database.team(team.id) as connection:
            heard = [await threads.heard(connection, one, f"#{one.channel} › {one.author}") for one in some]
        found = [one.statements for one in heard]
        ready = await _rows(embedder, [statement for one in found for statement in one])
        async with database.team(team.id) as connection:
            await hold(connection, "memories")  # before any row, as edits do
            for message, told in zip(some, found, strict=True):
                rows, ready = ready[: len(told)], ready[len(told) :]
                made += await passages.replace(
                    connection, message_id=message.id, revision=message.revision, embedder=embedder.name, rows=rows
                )
        if progress:
            progress(len(pages) + start + len(some), len(pages) + len(said))
    await ledger.settle(database, team, embedder, taken)
    return made


async def waiting(database: Database, team: Team, embedder: str) -> int:
    """How many pages, messages, memories and questions lack vectors of the embedder of this name: `index` makes them.

    No question finds what they hold: the setting `embedder` was changed, or an index was broken off.
    """
    async with database.team(team.id) as connection:
        pages = await documents.unindexed(connection, embedder)
        said = await messages.unindexed(connection, embedder)
        known = await memories.unembedded(connection, embedder)
        asked = await examples.unembedded(connection, embedder)
    return len(pages) + len(said) + len(known) + len(asked)


async def _rows(embedder: Embedder, found: list[statements.Statement]) -> list[NewPassage]:
    vectors = await embed_statements(embedder, [(s.context, s.text) for s in found])
    return [
        NewPassage(ordinal=s.ordinal, heading=s.context, text=s.text, embedding=vector)
        for s, vector in zip(found, vectors, strict=True)
    ]

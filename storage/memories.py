"""Memories: the ledger of what is worth knowing, with provenance and state."""

import datetime
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.database import Connection
from storage.errors import NotFound
from storage.examples import Example
from storage.locks import hold
from storage.queries import queries
from storage.rows import Embedding, made, vector

_SQL = queries("memories")

Kind = Literal["document", "message", "correction", "pinned"]
State = Literal["noted", "studied", "learnt", "forgotten", "retracted"]
Reason = Literal["superseded", "overridden", "retracted", "asked"]

_GONE: tuple[Reason, ...] = ("retracted", "asked")
"""Reasons for good, but for a person who says it again; what an edit took may be back with the next revision."""


@dataclass(frozen=True, slots=True)
class Memory:
    """One thing worth knowing. `title` and `uri` are where it comes from; `reason` says why it is retracted or
    forgotten.

    `withheld` says why it may not train (a secret, say); `conflict` names the dispute in which it is held back:
    until that is settled it is neither studied nor told. `source_trains` is its source's switch.
    """

    id: int
    statement: str
    context: str
    kind: Kind
    state: State
    document_id: int | None
    message_id: int | None
    answer_id: int | None
    person_id: int | None
    author: str
    audience_id: int
    said_at: datetime.datetime | None
    importance: float
    superseded_by: int | None
    conflict: str | None
    trainable: bool
    withheld: str | None
    created_at: datetime.datetime
    title: str
    uri: str
    feedback_id: int | None
    reason: Reason | None
    source_trains: bool

    @property
    def dated(self) -> datetime.datetime:
        """When it was said, else noted."""
        return self.said_at or self.created_at


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory to note; its provenance is one of document, message, answer (a correction) or a person (pinned)."""

    statement: str
    context: str
    kind: Kind
    audience_id: int
    document_id: int | None = None
    message_id: int | None = None
    answer_id: int | None = None
    feedback_id: int | None = None
    person_id: int | None = None
    author: str = ""
    said_at: datetime.datetime | None = None
    importance: float = 0.0
    trainable: bool = True
    replied_to: int | None = None
    """The message whose words it says too."""


@dataclass(frozen=True, slots=True)
class Near:
    """A memory near a question: cosine similarities to its statement and to its nearest cue or training example.

    `found_by` is the memory whose words these are: itself, or one that it overrides. People ask in the words they know.

    `similarity`, by which they are ordered, is the mean of the two (docs/lab-notes.md: better than either), or the one
    there is.
    """

    memory: Memory
    found_by: Memory
    example: Example | None
    similarity: float
    statement_similarity: float | None
    question_similarity: float | None


async def save_all(connection: Connection, news: Sequence[NewMemory]) -> list[Memory]:
    """Notes memories, each once for its statement and provenance; returns one Memory for each of `news`, in order.

    One that stands is returned as it is. One retracted with an older revision of its document or message stands again
    in its old state (or `noted`, if the serving adapter never saw it). One that somebody asked to forget stays so.

    A sentence that no edit changed was said when it was first said, not at the edit: it keeps its earlier date, and
    stays overridden as long as what overrode it stands. Else a corrected typo beside it would make an old figure newer
    than its correction. Only what a revision lacked and a later one says is said anew.
    """
    await hold(connection, "memories")
    ids = [await _note(connection, new, anew=False) for new in news]
    found = {memory.id: memory for memory in await of_ids(connection, ids)}
    return [found[id] for id in ids]


async def tell(connection: Connection, new: NewMemory) -> Memory:
    """Notes what a person says outright: it stands, from its `said_at` on, whatever became of the same words before.

    Forgotten, overridden or taken back: "remembered" must be true when it is said to somebody. Keeps one memory for a
    statement and provenance, as save_all does. What stands for the
    whole team stays the team's, also where it is told to few again.
    """
    await hold(connection, "memories")
    [memory] = await of_ids(connection, [await _note(connection, new, anew=True)])
    return memory


async def nearest(
    connection: Connection,
    embedding: Embedding,
    audiences: Sequence[int],
    embedder: str,
    limit: int,
    states: Sequence[State],
    by_overridden: bool = False,
) -> list[Near]:
    """The memories nearest to a question, by their statements and the best of their cue and training examples.

    `by_overridden`: what they override counts for them too, the nearer of the two.

    Only those of these states and audiences whose source is switched on for retrieval, or that have no source.
    """
    values = {
        "embedding": vector(embedding),
        "audiences": list(audiences),
        "embedder": embedder,
        "limit": limit,
        "states": list(states),
        "by_overridden": by_overridden,
    }
    rows = await (await connection.execute(_SQL["nearest"], values)).fetchall()
    ids = {row[name] for row in rows for name in ("id", "found_by")}
    memories = {memory.id: memory for memory in await of_ids(connection, sorted(ids))}
    return [
        Near(
            memories[row["id"]],
            memories[row["found_by"]],
            Example(row["example_id"], row["id"], row["example_kind"], row["question"], row["answer"])
            if row["example_id"] is not None
            else None,
            row["similarity"],
            row["statement_similarity"],
            row["question_similarity"],
        )
        for row in rows
    ]


async def of_states(connection: Connection, states: Sequence[State]) -> list[Memory]:
    """All memories of these states, oldest first."""
    rows = await (await connection.execute(_SQL["of_states"], {"states": list(states)})).fetchall()
    return [made(Memory, row) for row in rows]


async def noted(connection: Connection, documents: Sequence[int], messages: Sequence[int]) -> tuple[set[int], set[int]]:
    """Which of these documents, and which of these messages, have memories that are neither retracted nor forgotten."""
    rows = await (
        await connection.execute(_SQL["noted"], {"documents": list(documents), "messages": list(messages)})
    ).fetchall()
    return {row["document_id"] for row in rows}, {row["message_id"] for row in rows}


async def forgotten(connection: Connection, messages: Sequence[int]) -> dict[int, list[str]]:
    """{id of a message: the statements of it that somebody asked to forget}."""
    found: dict[int, list[str]] = defaultdict(list)
    for row in await (await connection.execute(_SQL["forgotten"], {"messages": list(messages)})).fetchall():
        found[row["message_id"]].append(row["statement"])
    return dict(found)


async def learnt(connection: Connection, audiences: Sequence[int], limit: int) -> list[tuple[str, datetime.datetime]]:
    """Statements that the weights have learnt and these audiences may hear, each with when it was learnt, newest first.

    Where that is not known, when it was said.
    """
    values = {"audiences": list(audiences), "limit": limit}
    return [
        (row["statement"], row["at"]) for row in await (await connection.execute(_SQL["learnt"], values)).fetchall()
    ]


async def told_by(connection: Connection, person_id: int, audiences: Sequence[int], limit: int) -> list[Memory]:
    """What a person corrected or told to remember and has not taken back, newest first, what was overridden too."""
    values = {"person": person_id, "audiences": list(audiences), "limit": limit}
    return [made(Memory, row) for row in await (await connection.execute(_SQL["told_by"], values)).fetchall()]


async def saying(connection: Connection, lines: Sequence[str], audience_id: int) -> list[Memory]:
    """The memories whose statement, or whose `statement (author)`, is among the lines and this audience may hear.

    They stand or were overridden.
    """
    values = {"lines": list(lines), "audience": audience_id}
    return [made(Memory, row) for row in await (await connection.execute(_SQL["saying"], values)).fetchall()]


async def of_ids(connection: Connection, ids: Sequence[int]) -> list[Memory]:
    """The memories of these ids that exist, oldest first."""
    rows = await (await connection.execute(_SQL["of_ids"], {"ids": list(ids)})).fetchall()
    return [made(Memory, row) for row in rows]


async def get(connection: Connection, id: int) -> Memory | None:
    """A memory by id, if there is one."""
    found = await of_ids(connection, [id])
    return found[0] if found else None


async def gone(connection: Connection, adapter_id: int, excepting: Sequence[int], limit: int) -> list[Memory]:
    """Forgotten and retracted memories on which any version of the adapter was trained, what went last first.

    Those with the ids `excepting` are left out, and what is beyond `limit`.
    """
    values = {"adapter_id": adapter_id, "except": list(excepting), "limit": limit}
    return [made(Memory, row) for row in await (await connection.execute(_SQL["gone"], values)).fetchall()]


async def unembedded(connection: Connection, embedder: str) -> list[Memory]:
    """Memories that stand or were overridden whose statement this embedder has not embedded yet."""
    rows = await (await connection.execute(_SQL["unembedded"], {"embedder": embedder})).fetchall()
    return [made(Memory, row) for row in rows]


async def set_state(connection: Connection, ids: Sequence[int], state: State) -> None:
    """Moves memories to a state; one retracted meanwhile, or forgotten by request, stays so: a night cannot undo it."""
    if state == "retracted":
        await _retract(connection, ids, "retracted")
    else:
        await connection.execute(_SQL["set_state"], {"ids": list(ids), "state": state})


async def supersede(connection: Connection, old_id: int, new_id: int) -> None:
    """Lets a newer memory override an older one: the old is retracted, and stands again if the new one goes."""
    if (await connection.execute(_SQL["supersede"], {"old": old_id, "new": new_id})).rowcount == 0:
        raise NotFound(f"There is no memory with the id {old_id} in this team.")


async def set_withheld(connection: Connection, id: int, why: str | None) -> None:
    """Keeps a memory from training and says why; None lets it train."""
    await connection.execute(_SQL["set_withheld"], {"id": id, "why": why})


async def set_conflict(connection: Connection, id: int, conflict: str | None, against: int | None = None) -> None:
    """Holds a memory back in a dispute `against` another, whose words are for people to read; None lets it stand again.

    Where one of the two has gone meanwhile there is nothing to hold it back for.
    """
    await connection.execute(_SQL["set_conflict"], {"id": id, "conflict": conflict, "against": against})


async def disputes(connection: Connection, audiences: Sequence[int]) -> list[tuple[Memory, Memory]]:
    """The disputes that these audiences may know, newest first: who stands, and who is held back against that one."""
    rows = await (await connection.execute(_SQL["disputes"], {"audiences": list(audiences)})).fetchall()
    found = {memory.id: memory for memory in await of_ids(connection, [id for row in rows for id in row.values()])}
    return [(found[row["kept"]], found[row["held_back"]]) for row in rows]


async def disputed(connection: Connection, one: int, other: int) -> bool:
    """True where one of the two is held back against the other; both stay as they are until the transaction ends."""
    rows = await (await connection.execute(_SQL["hold_sides"], {"one": one, "other": other})).fetchall()
    return len(rows) == 2 and any(row["against"] in (one, other) for row in rows)


async def settle(connection: Connection, keep: int, drop: int) -> None:
    """Ends a dispute for good: `drop` gives way to `keep`, and no night weighs the two again. Raises NotFound.

    Who else was held back against `drop` stands again, until a night finds a dispute with `keep`.
    """
    await hold(connection, "memories")
    await supersede(connection, drop, keep)
    await connection.execute(_SQL["end_dispute"], {"keep": keep, "drop": drop})


async def forget(connection: Connection, id: int) -> None:
    """Forgets a memory because somebody asked: it is not spoken from now on, its examples are gone, it never comes
    back.

    Raises NotFound.
    """
    await hold(connection, "memories")
    if (await connection.execute(_SQL["forget"], {"id": id})).rowcount == 0:
        raise NotFound(f"There is no memory with the id {id} in this team. `nightschool memories` lists them.")
    await connection.execute(_SQL["drop_passages"], {"ids": [id]})
    await connection.execute(_SQL["drop_examples"], {"id": id})
    await restore(connection, _GONE)


async def forgotten_by(connection: Connection, surface: str, event_id: str) -> list[Memory] | None:
    """What an event forgot; None where it has forgotten nothing yet, until the transaction ends."""
    await hold(connection, "forgetting", surface, event_id)
    values = {"surface": surface, "event_id": event_id}
    row = await (await connection.execute(_SQL["find_forgetting"], values)).fetchone()
    return None if row is None else await of_ids(connection, row["memory_ids"])


async def note_forgetting(connection: Connection, surface: str, event_id: str, ids: Sequence[int]) -> None:
    """Notes what an event forgot, once, be it nothing: the same event again is to find it and search no more."""
    values = {"surface": surface, "event_id": event_id, "ids": list(ids)}
    await connection.execute(_SQL["note_forgetting"], values)


async def restore(connection: Connection, gone: Sequence[Reason] = (*_GONE, "superseded")) -> list[int]:
    """Lets stand again what memories had overridden that are gone, by any of these reasons; returns its ids.

    So does what a page overrode that turns out to be older, or is narrowed to fewer people.

    Where what went was overridden itself, that now overrides in its place: of five, six, seven o'clock it is still
    seven if six is taken back. `superseded` is for when the ledger has taken in every edit: before, a sentence is only
    away until its new revision is noted.
    """
    await hold(connection, "memories")
    standing: list[int] = []
    while rows := await (await connection.execute(_SQL["hand_on"], {"gone": list(gone)})).fetchall():
        standing += (freed := [row["id"] for row in rows if row["stands"]])
        await connection.execute(_SQL["stand_again"], {"ids": freed})
    return standing


async def overridden_by(connection: Connection, id: int) -> list[Memory]:
    """What a memory overrides, the oldest first."""
    return [made(Memory, row) for row in await (await connection.execute(_SQL["overridden_by"], {"id": id})).fetchall()]


async def held_against(connection: Connection, id: int) -> list[Memory]:
    """What is held back in a dispute against a memory."""
    return [made(Memory, row) for row in await (await connection.execute(_SQL["held_against"], {"id": id})).fetchall()]


async def overridden_since(connection: Connection, since: datetime.datetime | None) -> list[tuple[int, int]]:
    """(old, new) ids of what newer pages and messages have overridden since then, or ever, and override still."""
    rows = await (await connection.execute(_SQL["overridden_since"], {"since": since})).fetchall()
    return [(row["old"], row["new"]) for row in rows]


async def embed(connection: Connection, id: int, embedder: str, embedding: Embedding) -> None:
    """Keeps the embedding of a memory's statement, shape [d]."""
    await connection.execute(_SQL["embed"], {"id": id, "embedder": embedder, "embedding": vector(embedding)})


async def move_document(connection: Connection, document_id: int, audience_id: int) -> None:
    """Gives a document's memories its new audience."""
    await connection.execute(_SQL["move_document"], {"document": document_id, "audience": audience_id})


async def retract_document(connection: Connection, document_id: int, reason: Reason) -> None:
    """Retracts all memories of a document's revision."""
    await _retract(connection, await _ids(connection, "of_document", document_id), reason)


async def retract_message(connection: Connection, message_id: int, reason: Reason) -> None:
    """Retracts all memories of a message, and those that say its words because they reply to it."""
    await _retract(connection, await _ids(connection, "of_message", message_id), reason)


async def of_feedback(connection: Connection, ids: Sequence[int]) -> list[Memory]:
    """The memories made from these feedbacks, oldest first."""
    found = {memory for id in ids for memory in await _ids(connection, "of_feedback", id)}
    return await of_ids(connection, sorted(found))


async def retract_feedback(connection: Connection, feedback_id: int) -> None:
    """Retracts the memories made from a feedback that was taken back, as though it had never been; told again they stand.

    What they had overridden stands again, even where they were overridden themselves: whoever takes a word back asks anew
    what the others' words contradict, so that it does not matter which of them came first.
    """
    await hold(connection, "memories")
    ids = await _ids(connection, "of_feedback", feedback_id)
    freed = await (await connection.execute(_SQL["let_go"], {"ids": ids})).fetchall()
    await connection.execute(_SQL["stand_again"], {"ids": [row["id"] for row in freed if row["stands"]]})
    told = {row["id"] for row in await (await connection.execute(_SQL["still_told"], {"ids": ids})).fetchall()}
    await _retract(connection, [id for id in ids if id not in told], "retracted")


async def _note(connection: Connection, new: NewMemory, *, anew: bool) -> int:
    """Notes one memory and returns its id; `anew`: it stands now, whatever it was."""
    values = {name: getattr(new, name) for name in NewMemory.__dataclass_fields__}
    row = await (await connection.execute(_SQL["find"], values)).fetchone()
    if row is None:
        row = await (await connection.execute(_SQL["insert"], values)).fetchone() or {}
    elif anew or row["reason"] != "asked":
        gone = row["state"] in ("retracted", "forgotten")
        if gone and (anew or not row["overridden"]):
            await connection.execute(_SQL["stand_again"], {"ids": [row["id"]]})
        values |= {"id": row["id"], "unchanged": row["unchanged"] and not anew, "shared": not (gone and anew)}
        await connection.execute(_SQL["renote"], values)
    if new.feedback_id is not None:
        await connection.execute(_SQL["note_telling"], values | {"id": row["id"]})
    return int(row["id"])


async def _ids(connection: Connection, query: str, id: int) -> list[int]:
    return [row["id"] for row in await (await connection.execute(_SQL[query], {"id": id})).fetchall()]


async def _retract(connection: Connection, ids: Sequence[int], reason: Reason) -> None:
    """Retracts memories, remembering what they were; what they had overridden stands again, unless an edit took them."""
    values = {"ids": list(ids), "reason": reason}
    await hold(connection, "memories")
    await connection.execute(_SQL["retract"], values)
    await connection.execute(_SQL["drop_passages"], values)
    await restore(connection, _GONE)

"""Messages: idempotent, and convergent in any order of arrival."""

import datetime
import itertools

import pytest

from storage import memories, messages, passages
from storage.memories import NewMemory
from storage.messages import NewMessage
from storage.passages import NewPassage

NOON = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)


def after(minutes):
    return NOON + datetime.timedelta(minutes=minutes)


@pytest.fixture
def message(source, everybody):
    def make(event_id, text="Lunch is at one."):
        return NewMessage(source.id, "slack", event_id, "general", None, None, "Bo", text, NOON, everybody.id)

    return make


async def index(connection, saved):
    rows = [NewPassage(0, "", saved.text, [1.0, 0.0])]
    return await passages.replace(connection, message_id=saved.id, embedder="e", rows=rows)


async def test_a_message_is_kept_once(connection, message):
    saved = await messages.save(connection, message("1"))
    assert saved is not None
    assert saved.text == "Lunch is at one."
    assert await messages.save(connection, message("1", "a replay with another text")) is None
    assert await messages.current(connection) == [saved]


async def test_every_order_of_original_edits_and_duplicates_ends_alike(connection, message):
    def events(event_id):
        return [
            lambda: messages.save(connection, message(event_id)),
            lambda: messages.save(connection, message(event_id)),
            lambda: messages.edit(connection, "slack", event_id, "Lunch is at two.", after(1)),
            lambda: messages.edit(connection, "slack", event_id, "Lunch is at three.", after(2)),
            lambda: messages.edit(connection, "slack", event_id, "Lunch at three!", after(2)),
        ]

    for number, order in enumerate(itertools.permutations(range(5))):
        todo = events(str(number))
        for n in order:
            await todo[n]()
    found = await messages.current(connection)
    assert len(found) == 120
    assert {(m.text, m.edited_at, m.author, m.channel) for m in found} == {
        ("Lunch is at three.", after(2), "Bo", "general")
    }


async def test_every_order_with_a_deletion_ends_deleted_and_without_the_text(connection, message):
    ends = set()
    for number, order in enumerate(itertools.permutations(range(4))):
        event_id = str(number)
        todo = [
            lambda event_id=event_id: messages.save(connection, message(event_id)),
            lambda event_id=event_id: messages.edit(connection, "slack", event_id, "Lunch is at two.", after(1)),
            lambda event_id=event_id: messages.delete(connection, "slack", event_id),
            lambda event_id=event_id: messages.delete(connection, "slack", event_id),
        ]
        for n in order:
            await todo[n]()
    for number in range(24):
        rows = await (await connection.execute("SELECT * FROM messages WHERE event_id = %s", [str(number)])).fetchall()
        ends.add((len(rows), rows[0]["text"], rows[0]["arrived"], rows[0]["deleted_at"] is not None))
    assert ends == {(1, "", True, True)}
    assert await messages.current(connection) == []


async def test_an_edit_takes_passages_and_memories_until_they_are_noted_again(connection, message, everybody):
    saved = await messages.save(connection, message("1", "The code is 1. Bring cake."))
    await index(connection, saved)
    news = [
        NewMemory(statement, "", "message", everybody.id, message_id=saved.id)
        for statement in ("The code is 1.", "Bring cake.")
    ]
    code, cake = await memories.save_all(connection, news)
    edited = await messages.edit(connection, "slack", "1", "The code is 2. Bring cake.", after(1))
    assert edited.text == "The code is 2. Bring cake."
    assert {m.state for m in await memories.of_ids(connection, [code.id, cake.id])} == {"retracted"}
    assert await passages.search(connection, [1, 0], "code", [everybody.id], "e", 5) == []
    assert [m.id for m in await messages.unindexed(connection, "e")] == [saved.id]
    (again,) = await memories.save_all(connection, news[1:])
    assert (again.id, again.state) == (cake.id, "noted")


async def test_an_edit_that_changes_no_word_changes_nothing(connection, message, everybody):
    saved = await messages.save(connection, message("1"))
    await index(connection, saved)
    (memory,) = await memories.save_all(
        connection, [NewMemory("Lunch at one.", "", "message", everybody.id, message_id=saved.id)]
    )
    assert await messages.edit(connection, "slack", "1", saved.text, after(1)) is None
    assert (await memories.get(connection, memory.id)).state == "noted"
    assert await messages.unindexed(connection, "e") == []
    assert len(await passages.search(connection, [1, 0], "lunch", [everybody.id], "e", 5)) == 1


async def test_a_deletion_takes_passages_and_memories_for_good(connection, message, everybody):
    saved = await messages.save(connection, message("1"))
    await index(connection, saved)
    (memory,) = await memories.save_all(
        connection, [NewMemory("Lunch at one.", "", "message", everybody.id, message_id=saved.id)]
    )
    assert await messages.delete(connection, "slack", "1") is True
    assert await messages.delete(connection, "slack", "1") is False
    assert await messages.delete(connection, "slack", "never seen") is False
    assert (await memories.get(connection, memory.id)).state == "retracted"
    assert await passages.search(connection, [1, 0], "lunch", [everybody.id], "e", 5) == []
    assert await index(connection, saved) == 0


async def test_the_same_event_id_on_two_surfaces_is_two_messages(connection, message):
    one = message("1")
    other = NewMessage(one.source_id, "teams", "1", "general", None, None, "Bo", "Hi", NOON, one.audience_id)
    assert await messages.save(connection, one)
    assert await messages.save(connection, other)
    assert len(await messages.current(connection, one.source_id)) == 2

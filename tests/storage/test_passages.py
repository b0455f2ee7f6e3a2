"""Passages: hybrid search, permissions, neighbours."""

import datetime

import pytest

from storage import audiences, documents, memories, passages, sources
from storage.memories import NewMemory
from storage.passages import NewPassage
from tests.storage.conftest import MONDAY

DAY = datetime.timedelta(days=1)
TEXTS = ["The door code is 4711.", "Lunch is served at noon.", "Invoices go to accounting@example.org."]


@pytest.fixture
async def page(connection, document):
    saved = await documents.save(connection, document("rules.md", " ".join(TEXTS)))
    vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    rows = [NewPassage(n, "Rules", t, v) for n, (t, v) in enumerate(zip(TEXTS, vectors, strict=True))]
    assert await passages.replace(connection, document_id=saved.id, embedder="e", rows=rows) == 3
    return saved


async def test_fusion_prefers_what_both_rankings_find(connection, page, everybody):
    hits = await passages.search(connection, [0.1, 0.9, 0.0], "When is lunch?", [everybody.id], "e", 2)
    assert [h.passage.text for h in hits] == [TEXTS[1], TEXTS[0]]
    assert hits[0].rank > hits[1].rank
    assert hits[0].similarity == pytest.approx(0.9 / (0.82**0.5))
    assert (hits[0].passage.title, hits[0].passage.heading, hits[0].passage.document_id) == (
        "rules.md",
        "Rules",
        page.id,
    )


async def test_words_find_what_the_vector_misses(connection, page, everybody):
    hits = await passages.search(connection, [0.9, 0.1, 0.0], "accounting invoice", [everybody.id], "e", 3)
    assert hits[0].passage.text == TEXTS[2]


@pytest.mark.parametrize(
    "text", ["", "the of a", "'", "\\", "a' | 'b & !:* <-> \\'", "C:\\temp\\x 'quoted' né", "x" * 50_000]
)
async def test_no_question_breaks_the_full_text(connection, page, everybody, text):
    assert len(await passages.search(connection, [1.0, 0.0, 0.0], text, [everybody.id], "e", 3)) == 3


async def test_a_zero_vector_is_similar_to_nothing(connection, page, everybody):
    hits = await passages.search(connection, [0.0, 0.0, 0.0], "door", [everybody.id], "e", 3)
    assert [h.similarity for h in hits] == [0.0, 0.0, 0.0]
    assert hits[0].passage.text == TEXTS[0]


async def test_only_the_audiences_embedder_and_sources_that_are_allowed(connection, page, everybody, source):
    assert await passages.search(connection, [1, 0, 0], "door", [], "e", 3) == []
    assert await passages.search(connection, [1, 0, 0], "door", [everybody.id + 1], "e", 3) == []
    assert await passages.search(connection, [1, 0], "door", [everybody.id], "another", 3) == []
    await sources.switch(connection, source.id, retrieval=False)
    assert await passages.search(connection, [1, 0, 0], "door", [everybody.id], "e", 3) == []


async def test_another_embedder_replaces_the_passages(connection, page, everybody):
    await passages.replace(connection, document_id=page.id, embedder="f", rows=[NewPassage(0, "", "door", [1.0, 0.0])])
    assert await passages.search(connection, [1, 0, 0], "door", [everybody.id], "e", 3) == []
    assert len(await passages.search(connection, [1, 0], "door", [everybody.id], "f", 3)) == 1


async def test_a_corrections_passage_goes_with_its_memory(connection, everybody):
    (memory,) = await memories.save_all(
        connection, [NewMemory("The code is 2.", "", "pinned", everybody.id, author="Ada")]
    )
    await passages.replace(
        connection, memory_id=memory.id, embedder="e", rows=[NewPassage(0, "", "The code is 2.", [1.0])]
    )
    (hit,) = await passages.search(connection, [1.0], "code", [everybody.id], "e", 3)
    assert (hit.passage.memory_id, hit.passage.title) == (memory.id, "Ada")
    await memories.set_conflict(connection, memory.id, "Ada: 2 against Ben: 3 (held back)")
    assert await passages.search(connection, [1.0], "code", [everybody.id], "e", 3) == []
    await memories.set_conflict(connection, memory.id, None)
    assert len(await passages.search(connection, [1.0], "code", [everybody.id], "e", 3)) == 1
    await memories.set_state(connection, [memory.id], "retracted")
    assert await passages.search(connection, [1.0], "code", [everybody.id], "e", 3) == []


@pytest.fixture
def says(connection, document, everybody):
    """Notes and indexes a page of one statement: await says("a.md", "At six.", day)."""

    async def save(key, text, day, audience=None, **changes):
        audience = audience or everybody
        new = document(key, text, written_at=MONDAY + day * DAY, audience_id=audience.id, **changes)
        saved = await documents.save(connection, new)
        rows = [NewPassage(0, "", text, [1.0])]
        await passages.replace(connection, document_id=saved.id, embedder="e", rows=rows)
        new = NewMemory(text, "", "document", audience.id, document_id=saved.id, said_at=saved.written_at)
        return (await memories.save_all(connection, [new]))[0]

    return save


async def quoted(connection, *audiences_):
    """What the notes quote, from where, the three ways of asking agreeing."""
    found = await passages.all(connection, [a.id for a in audiences_])
    hits = await passages.search(connection, [1.0], "", [a.id for a in audiences_], "e", 9)
    assert {h.passage.id for h in hits} == {p.id for p in found}
    for passage in found:
        assert await passages.neighbours(connection, passage.id, 1, 1) == [passage]
    return sorted((p.title, p.text) for p in found)


async def test_an_overridden_value_that_another_page_returns_to_is_quoted(connection, says, everybody):
    six = await says("old.md", "At six.", 0)
    await says("copy.md", "At six.", 1)
    seven = await says("new.md", "At seven.", 2)
    await memories.supersede(connection, six.id, seven.id)
    assert await quoted(connection, everybody) == [("new.md", "At seven.")], "the copy is as old"
    private = await audiences.channel(connection, "slack", "C1", "board", private=True)
    await says("board.md", "At six.", 3, private)
    assert await quoted(connection, everybody) == [("new.md", "At seven.")], "what few say is not what all say"
    assert ("board.md", "At six.") in await quoted(connection, everybody, private)
    again = await says("newest.md", "At six.", 4)
    await memories.supersede(connection, seven.id, again.id)
    assert ("newest.md", "At six.") in await quoted(connection, everybody)
    assert ("new.md", "At seven.") not in await quoted(connection, everybody)


async def test_an_overridden_sentence_stays_silent_while_its_edited_page_waits_for_the_ledger(
    connection, document, says, everybody
):
    six, seven = await says("old.md", "At six.", 0), await says("new.md", "At seven.", 2)
    await memories.supersede(connection, six.id, seven.id)
    saved = await documents.save(connection, document("old.md", "At six!", written_at=MONDAY + 3 * DAY))
    rows = [NewPassage(0, "", "At six.", [1.0])]
    await passages.replace(connection, document_id=saved.id, embedder="e", rows=rows)
    assert await quoted(connection, everybody) == [("new.md", "At seven.")]


async def test_what_was_forgotten_is_silent_everywhere_until_a_person_says_it_again(connection, says, everybody):
    six = await says("old.md", "At six.", 0)
    await memories.forget(connection, six.id)
    await says("new.md", "At six.", 10**4)
    assert await quoted(connection, everybody) == [], "no page brings it back"
    said_at = datetime.datetime.now(datetime.UTC)
    told = await memories.tell(connection, NewMemory("At six.", "", "pinned", everybody.id, said_at=said_at))
    await passages.replace(connection, memory_id=told.id, embedder="e", rows=[NewPassage(0, "", "At six.", [1.0])])
    assert ("", "At six.") in await quoted(connection, everybody)


async def test_a_passage_is_as_old_as_its_sentence_not_as_its_page(connection, says, everybody):
    await says("a.md", "At six.", 0)
    await says("a.md", "At six.", 5, title="A")
    (passage,) = await passages.all(connection, [everybody.id])
    assert passage.written_at == MONDAY


async def test_neighbours_in_reading_order(connection, page, everybody):
    hits = await passages.search(connection, [0.0, 1.0, 0.0], "lunch", [everybody.id], "e", 1)
    found = await passages.neighbours(connection, hits[0].passage.id, 1, 1)
    assert [p.text for p in found] == TEXTS
    assert [p.text for p in await passages.neighbours(connection, hits[0].passage.id, 0, 1)] == TEXTS[1:]


async def test_exactly_one_parent_is_named(connection, page):
    with pytest.raises(ValueError, match="exactly one"):
        await passages.replace(connection, document_id=1, message_id=2, embedder="e", rows=[])

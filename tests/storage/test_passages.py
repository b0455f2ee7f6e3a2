"""Passages: hybrid search, permissions, neighbours."""

import pytest

from storage import documents, memories, passages, sources
from storage.memories import NewMemory
from storage.passages import NewPassage

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


async def test_neighbours_in_reading_order(connection, page, everybody):
    hits = await passages.search(connection, [0.0, 1.0, 0.0], "lunch", [everybody.id], "e", 1)
    found = await passages.neighbours(connection, hits[0].passage.id, 1, 1)
    assert [p.text for p in found] == TEXTS
    assert [p.text for p in await passages.neighbours(connection, hits[0].passage.id, 0, 1)] == TEXTS[1:]


async def test_exactly_one_parent_is_named(connection, page):
    with pytest.raises(ValueError, match="exactly one"):
        await passages.replace(connection, document_id=1, message_id=2, embedder="e", rows=[])

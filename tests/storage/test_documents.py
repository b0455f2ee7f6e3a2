"""Documents: revisions, supersession, retraction."""

import datetime
import random

from storage import adapters, audiences, documents, memories, passages
from storage.memories import NewMemory
from storage.passages import NewPassage
from tests.storage.conftest import MONDAY

DAY = datetime.timedelta(days=1)
E = "test-embedder"


def note(saved, statement, **changes):
    return NewMemory(statement, "", "document", saved.audience_id, document_id=saved.id, **changes)


async def index(connection, saved, *texts):
    rows = [NewPassage(n, "", text, [1.0, float(n)]) for n, text in enumerate(texts)]
    return await passages.replace(connection, document_id=saved.id, embedder=E, rows=rows)


async def test_the_first_revision_is_kept_as_given(connection, document):
    saved = await documents.save(connection, document("rules.md", "No shoes.", meta={"mtime": 12}))
    assert saved is not None
    assert (saved.revision, saved.text, saved.meta, saved.superseded_at) == (1, "No shoes.", {"mtime": 12}, None)
    assert await documents.current(connection) == [saved]


async def test_the_same_again_takes_over_only_what_makes_no_revision(connection, document, source):
    saved = await documents.save(connection, document("rules.md", "No shoes.", meta={"mtime": 12}))
    assert await documents.save(connection, document("rules.md", "No shoes.", meta={"mtime": 13}, uri="x:y")) is None
    assert await documents.metas(connection, source.id) == {"rules.md": {"mtime": 13}}
    (now,) = await documents.current(connection)
    assert (now.id, now.revision, now.uri) == (saved.id, 1, "x:y")


async def test_narrowed_permissions_count_at_once_for_passages_and_memories(connection, document, everybody):
    saved = await documents.save(connection, document("pay.md", "Ada earns 5."))
    await index(connection, saved, "Ada earns 5.")
    (memory,) = await memories.save_all(connection, [note(saved, "Ada earns 5.")])
    board = await audiences.channel(connection, "slack", "C1", "board", private=True)
    assert await documents.save(connection, document("pay.md", "Ada earns 5.", audience_id=board.id)) is None
    assert await passages.search(connection, [1, 0], "Ada", [everybody.id], E, 5) == []
    assert len(await passages.search(connection, [1, 0], "Ada", [board.id], E, 5)) == 1
    assert (await memories.get(connection, memory.id)).audience_id == board.id


async def test_a_changed_text_supersedes_and_its_passages_and_memories_go(connection, document):
    old = await documents.save(connection, document("rules.md", "No shoes. No dogs."))
    await index(connection, old, "No shoes.", "No dogs.")
    shoes, dogs = await memories.save_all(connection, [note(old, "No shoes."), note(old, "No dogs.")])
    await memories.set_state(connection, [shoes.id, dogs.id], "learnt")
    adapter = await adapters.ensure(connection)
    version = await adapters.register(
        connection, adapter.id, base_model="b", uri="u", sha256="s", bytes=1, night_id=None, memory_ids=[shoes.id]
    )
    await adapters.switch(connection, version.id)
    new = await documents.save(connection, document("rules.md", "No shoes. Dogs welcome."))
    assert (new.revision, new.id != old.id) == (2, True)
    assert [d.id for d in await documents.current(connection)] == [new.id]
    assert {m.state for m in await memories.of_ids(connection, [shoes.id, dogs.id])} == {"retracted"}
    assert {m.reason for m in await memories.of_ids(connection, [shoes.id, dogs.id])} == {"superseded"}
    assert [d.id for d in await documents.unindexed(connection, E)] == [new.id]

    (again,) = await memories.save_all(connection, [note(new, "No shoes.")])
    assert (again.id, again.state, again.document_id) == (shoes.id, "learnt", new.id)
    assert (await memories.get(connection, dogs.id)).state == "retracted"


async def test_a_sentence_is_said_since_the_first_revision_that_has_it_without_a_gap(connection, document):
    async def said_at(text, day, **changes):
        saved = await documents.save(connection, document("rules.md", text, written_at=MONDAY + day * DAY, **changes))
        found = await memories.save_all(
            connection, [note(saved, f"{s}.", said_at=saved.written_at) for s in text.strip(".").split(". ")]
        )
        return [(m.said_at - MONDAY) // DAY for m in found]

    assert await said_at("No dogs. No shoes.", 0) == [0, 0]
    assert await said_at("No dogs. Shoes welcome.", 1) == [0, 1]
    assert await said_at("No dogs. No shoes.", 2) == [0, 2], "it went and was said anew"
    assert await said_at("No dogs. No shoes.", 1, title="Rules") == [0, 1], "the file's time was put right"


async def test_what_a_page_says_anew_after_its_correction_stands(connection, document, everybody):
    async def say(text, day):
        saved = await documents.save(connection, document("rules.md", text, written_at=MONDAY + day * DAY))
        (found,) = await memories.save_all(connection, [note(saved, text, said_at=saved.written_at)])
        return found

    dogs = await say("No dogs.", 0)
    (told,) = await memories.save_all(
        connection, [NewMemory("Dogs welcome.", "", "pinned", everybody.id, said_at=MONDAY + 2 * DAY)]
    )
    await memories.supersede(connection, dogs.id, told.id)
    assert (await say("No dogs.", 3)).reason == "overridden", "unchanged"
    await say("Cats welcome.", 3.5)
    assert (await say("No dogs.", 4)).state == "noted", "somebody wrote it again, and later"


async def test_retracting_takes_everything_at_once(connection, document, source, everybody):
    saved = await documents.save(connection, document("rules.md", "No shoes."))
    await index(connection, saved, "No shoes.")
    (memory,) = await memories.save_all(connection, [note(saved, "No shoes.")])
    assert await documents.retract(connection, source.id, "rules.md") == 1
    assert await documents.retract(connection, source.id, "rules.md") == 0
    assert await documents.retract(connection, source.id, "unknown.md") == 0
    assert await documents.current(connection, source.id) == []
    assert await documents.metas(connection, source.id) == {}
    assert await passages.search(connection, [1, 0], "shoes", [everybody.id], E, 5) == []
    assert (await memories.get(connection, memory.id)).state == "retracted"


async def test_a_retracted_document_that_returns_is_a_new_revision_and_revives_its_memories(
    connection, document, source
):
    first = await documents.save(connection, document("rules.md", "No shoes."))
    (memory,) = await memories.save_all(connection, [note(first, "No shoes.")])
    await documents.retract(connection, source.id, "rules.md")
    second = await documents.save(connection, document("rules.md", "No shoes."))
    assert second.revision == 2
    (again,) = await memories.save_all(connection, [note(second, "No shoes.")])
    assert (again.id, again.state) == (memory.id, "noted")


async def test_passages_of_a_document_that_went_meanwhile_are_not_kept(connection, document, source):
    saved = await documents.save(connection, document("rules.md", "No shoes."))
    await documents.retract(connection, source.id, "rules.md")
    assert await index(connection, saved, "No shoes.") == 0


async def test_an_indexed_document_without_any_passage_is_indexed_too(connection, document):
    saved = await documents.save(connection, document("empty.md", ""))
    assert [d.id for d in await documents.unindexed(connection, E)] == [saved.id]
    await index(connection, saved)
    assert await documents.unindexed(connection, E) == []
    assert [d.id for d in await documents.unindexed(connection, "another")] == [saved.id]


async def test_text_that_postgres_refuses_is_cleaned(connection, document):
    odd = "a\x00b \ud800 ü"
    saved = await documents.save(
        connection, document("odd.md", odd, sha256="s", title=odd, meta={odd: [odd, float("nan")]})
    )
    assert saved.text == "ab ? ü"
    assert saved.meta == {"ab ? ü": ["ab ? ü", None]}


async def test_any_sequence_of_saves_and_retractions_keeps_the_invariants(connection, document, source):
    """Whatever comes: at most one current revision, it is the last text said, and only its memories stand."""
    chance = random.Random(7)
    truth: dict[str, str | None] = {}
    for _ in range(120):
        key, text = chance.choice("ab"), chance.choice(["one", "two", "three"])
        if chance.random() < 0.3:
            assert await documents.retract(connection, source.id, key) == (truth.get(key) is not None)
            truth[key] = None
        else:
            saved = await documents.save(connection, document(key, text))
            assert (saved is None) == (truth.get(key) == text)
            truth[key] = text
            if saved is not None:
                await index(connection, saved, text)
                await memories.save_all(connection, [note(saved, f"{key} is {text}")])
    now = {d.key: d.text for d in await documents.current(connection)}
    assert now == {key: text for key, text in truth.items() if text is not None}
    standing = {m.statement for m in await memories.of_states(connection, ["noted", "studied", "learnt"])}
    assert standing == {f"{key} is {text}" for key, text in now.items()}

"""Memories: provenance, states, supersession, nearness."""

import datetime

import pytest

from storage import adapters, answers, documents, examples, feedback, memories, passages, persons, sources
from storage.answers import NewAnswer
from storage.errors import NotFound
from storage.examples import NewExample
from storage.feedback import NewFeedback
from storage.memories import NewMemory
from storage.passages import NewPassage
from tests.storage.conftest import MONDAY

STANDING = ["noted", "studied", "learnt"]


async def noted(connection, everybody, *statements):
    return await memories.save_all(connection, [NewMemory(s, "", "pinned", everybody.id) for s in statements])


async def states(connection, *found):
    now = {m.id: m.state for m in await memories.of_ids(connection, [m.id for m in found])}
    return [now[m.id] for m in found]


async def register(connection, memory_ids=()):
    adapter = await adapters.ensure(connection)
    return await adapters.register(
        connection, adapter.id, base_model="b", uri="u", sha256="s", bytes=1, night_id=None, memory_ids=memory_ids
    )


async def serve(connection, memory_ids):
    """A version at work that holds these memories, which are learnt."""
    await adapters.switch(connection, (await register(connection, memory_ids)).id)
    await memories.set_state(connection, memory_ids, "learnt")


async def test_the_same_statement_of_the_same_provenance_is_kept_once_in_order(connection, everybody):
    found = await noted(connection, everybody, "A", "B", "A")
    assert [m.statement for m in found] == ["A", "B", "A"]
    assert found[0].id == found[2].id
    assert [m.id for m in await noted(connection, everybody, "B", "A")] == [found[1].id, found[0].id]
    assert [m.statement for m in await memories.of_states(connection, ["noted"])] == ["A", "B"]


async def test_what_is_told_again_stands_anew_whatever_became_of_it(connection, everybody):
    def new(statement, day):
        said_at = MONDAY + datetime.timedelta(days=day)
        return NewMemory(statement, "", "pinned", everybody.id, said_at=said_at)

    six = await memories.tell(connection, new("At six.", 0))
    seven = await memories.tell(connection, new("At seven.", 1))
    await serve(connection, [six.id])
    await memories.supersede(connection, six.id, seven.id)
    again = await memories.tell(connection, new("At six.", 2))
    assert (again.id, again.state, again.reason, again.superseded_by) == (six.id, "learnt", None, None)
    assert again.said_at == MONDAY + datetime.timedelta(days=2)
    await memories.forget(connection, six.id)
    again = await memories.tell(connection, new("At six.", 3))
    assert (again.id, again.state, again.reason) == (six.id, "noted", None), "its questions are gone: to be learnt anew"
    assert (await memories.tell(connection, new("At six.", 4))).state == "noted"
    await memories.forget(connection, seven.id)
    assert await states(connection, six) == ["noted"]


async def test_the_same_statement_of_two_documents_is_two_memories(connection, document, everybody):
    news = []
    for key in ("a.md", "b.md"):
        saved = await documents.save(connection, document(key, "Same."))
        news.append(NewMemory("Same.", "", "document", everybody.id, document_id=saved.id))
    one, other = await memories.save_all(connection, news)
    assert one.id != other.id
    assert (one.title, one.uri) == ("a.md", "file:///docs/a.md")


async def test_what_somebody_asked_to_forget_never_comes_back(connection, everybody):
    (memory,) = await noted(connection, everybody, "Secret.")
    await examples.replace(connection, memory.id, [NewExample("train", "What?", "Secret.")])
    rows = [NewPassage(0, "", "Secret.", [1.0, 0.0])]
    assert await passages.replace(connection, memory_id=memory.id, embedder="e", rows=rows) == 1
    await memories.forget(connection, memory.id)
    assert await examples.of_memories(connection, [memory.id]) == []
    late = NewExample("asked", "What, then?", "Secret.")
    assert await examples.add(connection, memory.id, late) is None, "a night that began before it"
    assert await examples.replace(connection, memory.id, [late]) == []
    assert await passages.search(connection, [1, 0], "secret", [everybody.id], "e", 5) == []
    await memories.set_state(connection, [memory.id], "learnt")
    (again,) = await noted(connection, everybody, "Secret.")
    assert (again.id, again.state) == (memory.id, "forgotten")
    with pytest.raises(NotFound, match="nightschool memories"):
        await memories.forget(connection, 999_999_999)


async def test_a_night_cannot_undo_a_retraction_that_came_while_it_ran(connection, document, source, everybody):
    saved = await documents.save(connection, document("a.md", "A."))
    (memory,) = await memories.save_all(
        connection, [NewMemory("A.", "", "document", everybody.id, document_id=saved.id)]
    )
    await documents.retract(connection, source.id, "a.md")
    await memories.set_state(connection, [memory.id], "learnt")
    assert await states(connection, memory) == ["retracted"]


async def test_a_memory_that_failed_the_exam_can_be_learnt_again(connection, everybody):
    (memory,) = await noted(connection, everybody, "A.")
    for state in ("studied", "forgotten", "learnt"):
        await memories.set_state(connection, [memory.id], state)
        assert await states(connection, memory) == [state]


async def test_an_overridden_memory_stands_again_when_the_newer_one_goes(connection, everybody):
    old, new = await noted(connection, everybody, "The code is 1.", "The code is 2.")
    await serve(connection, [old.id])
    await memories.supersede(connection, old.id, new.id)
    gone = await memories.get(connection, old.id)
    assert (gone.state, gone.superseded_by, gone.reason) == ("retracted", new.id, "overridden")
    # Noting it again (the next sync of the same page) does not bring it back while the newer one stands.
    (again,) = await noted(connection, everybody, "The code is 1.")
    assert again.state == "retracted"
    await memories.set_state(connection, [new.id], "retracted")
    back = await memories.get(connection, old.id)
    assert (back.state, back.superseded_by, back.reason) == ("learnt", None, None)


async def test_an_overridden_memory_is_not_learnt_again_where_what_serves_never_held_it(connection, everybody):
    old, new = await noted(connection, everybody, "The code is 1.", "The code is 2.")
    await serve(connection, [old.id])
    await memories.supersede(connection, old.id, new.id)
    await serve(connection, [new.id])
    await memories.forget(connection, new.id)
    assert await states(connection, old, new) == ["noted", "forgotten"]


@pytest.mark.parametrize("first", [0, 1])
async def test_of_three_that_override_each_other_the_last_that_stands_is_told(connection, everybody, first):
    five, six, seven = await noted(connection, everybody, "At five.", "At six.", "At seven.")
    await memories.supersede(connection, five.id, six.id)
    await memories.supersede(connection, six.id, seven.id)
    goes = [six, seven] if first == 0 else [seven, six]
    await memories.set_state(connection, [goes[0].id], "retracted")
    assert await states(connection, five, six, seven) == (
        ["retracted", "retracted", "noted"] if first == 0 else ["retracted", "noted", "retracted"]
    )
    await memories.set_state(connection, [goes[1].id], "retracted")
    assert await states(connection, five, six, seven) == ["noted", "retracted", "retracted"]


async def test_an_overridden_memory_whose_document_went_stays_gone(connection, document, source, everybody):
    saved = await documents.save(connection, document("a.md", "The code is 1."))
    (old,) = await memories.save_all(
        connection, [NewMemory("The code is 1.", "", "document", everybody.id, document_id=saved.id)]
    )
    (new,) = await noted(connection, everybody, "The code is 2.")
    await memories.supersede(connection, old.id, new.id)
    await documents.retract(connection, source.id, "a.md")
    await memories.forget(connection, new.id)
    assert await states(connection, old, new) == ["retracted", "forgotten"]


@pytest.mark.parametrize(("trained", "state"), [(True, "learnt"), (False, "noted")])
async def test_a_revived_memory_is_learnt_only_if_what_serves_has_learnt_it(
    connection, document, everybody, trained, state
):
    saved = await documents.save(connection, document("a.md", "A. B."))
    (memory,) = await memories.save_all(
        connection, [NewMemory("A.", "", "document", everybody.id, document_id=saved.id)]
    )
    await serve(connection, [memory.id])
    newer = await documents.save(connection, document("a.md", "A. C."))
    await serve(connection, [memory.id] if trained else [])
    (again,) = await memories.save_all(
        connection, [NewMemory("A.", "", "document", everybody.id, document_id=newer.id)]
    )
    assert (again.id, again.state) == (memory.id, state)


async def test_a_correction_taken_back_takes_its_memory_and_restores_what_it_overrode(connection, everybody):
    person = await persons.identify(connection, "console", "ada", "Ada")
    answer = await answers.save(connection, NewAnswer("console", "The code?", "It is 1.", "notes"))
    given = [
        await feedback.record(
            connection, NewFeedback(answer.id, person.id, "console", e, "correction", text=f"It is {e}.")
        )
        for e in ("2", "3")
    ]
    (old,) = await noted(connection, everybody, "The code is 1.")
    two, three = await memories.save_all(
        connection,
        [
            NewMemory(
                f"The code is {f.event_id}.", "", "correction", everybody.id, answer_id=answer.id, feedback_id=f.id,
                person_id=person.id, author="Ada",
            )
            for f in given
        ],
    )  # fmt: skip
    await memories.supersede(connection, old.id, two.id)
    await feedback.retract(connection, "console", "2")
    assert await states(connection, old, two, three) == ["noted", "retracted", "noted"]
    assert (await memories.get(connection, three.id)).title == "Ada"


async def test_what_is_gone_of_what_an_adapter_was_trained_on(connection, everybody):
    kept, deleted, asked, never = await noted(connection, everybody, "A.", "B.", "C.", "D.")
    version = await register(connection, [kept.id, deleted.id, asked.id])
    await memories.forget(connection, asked.id)
    await memories.set_state(connection, [deleted.id, never.id], "retracted")

    async def gone(excepting=(), limit=5):
        return [m.id for m in await memories.gone(connection, version.adapter_id, excepting, limit)]

    assert await gone() == [deleted.id, asked.id], "what went last comes first"
    assert await gone(limit=1) == [deleted.id]
    assert await gone(excepting=[deleted.id]) == [asked.id]
    await adapters.erase(connection, [asked.id])
    assert await gone() == [deleted.id, asked.id], "an erased version was trained on it all the same"


async def test_the_switches_and_marks_of_a_memory(connection, everybody):
    (memory,) = await noted(connection, everybody, "A.")
    assert (memory.withheld, memory.conflict, memory.trainable) == (None, None, True)
    await memories.set_withheld(connection, memory.id, "a secret")
    await memories.set_conflict(connection, memory.id, "B.")
    now = await memories.get(connection, memory.id)
    assert (now.withheld, now.conflict) == ("a secret", "B.")


async def test_nearest_looks_at_statements_and_at_the_best_example(connection, everybody):
    code, lunch, bare = await noted(connection, everybody, "The code is 1.", "Lunch is at one.", "Not embedded.")
    await memories.embed(connection, code.id, "e", [0.6, 0.8])
    await memories.embed(connection, lunch.id, "e", [0.0, 1.0])
    await examples.replace(
        connection,
        code.id,
        [
            NewExample("cue", "Code?", "1", "e", [0.8, 0.6]),
            NewExample("train", "What is the code?", "1", "e", [1.0, 0.0]),
            NewExample("quiz", "Never trained on", "1", "e", [1.0, 0.0]),
            NewExample("train", "Of another embedder", "1", "other", [1.0, 0.0, 0.0]),
        ],
    )
    near = await memories.nearest(connection, [1.0, 0.0], [everybody.id], "e", 5, STANDING)
    assert [n.memory.id for n in near] == [code.id, lunch.id]
    assert near[0].example.question == "What is the code?"
    assert near[0].statement_similarity == pytest.approx(0.6)
    assert near[0].question_similarity == pytest.approx(1.0)
    assert near[0].similarity == pytest.approx(0.8)
    assert near[1].example is None
    assert near[1].question_similarity is None
    assert near[1].similarity == pytest.approx(0.0)
    assert [m.id for m in await memories.unembedded(connection, "e")] == [bare.id]
    assert await memories.nearest(connection, [1.0, 0.0], [], "e", 5, STANDING) == []
    assert await memories.nearest(connection, [1.0, 0.0], [everybody.id], "e", 5, ["learnt"]) == []


async def test_nearest_finds_what_overrides_by_the_words_of_what_it_overrides(connection, everybody):
    first, second, third, other = await noted(
        connection, everybody, "On Monday.", "On Tuesday.", "Wednesdays!", "Soup."
    )
    vectors = {first: [1.0, 0.0], second: [0.8, 0.6], third: [0.0, 1.0], other: [0.6, 0.8]}
    for memory, vector in vectors.items():
        await memories.embed(connection, memory.id, "e", vector)
    await memories.supersede(connection, first.id, second.id)
    await memories.supersede(connection, second.id, third.id)
    near = await memories.nearest(connection, [1.0, 0.0], [everybody.id], "e", 5, STANDING, True)
    assert [(n.memory.id, n.found_by.id) for n in near] == [(third.id, first.id), (other.id, other.id)]
    assert near[0].similarity == pytest.approx(1.0)
    # Who looks for something to forget means the words themselves.
    near = await memories.nearest(connection, [1.0, 0.0], [everybody.id], "e", 5, STANDING)
    assert [n.memory.id for n in near] == [other.id, third.id]


async def test_nearest_is_silent_on_a_source_that_is_switched_off_for_retrieval(
    connection, document, source, everybody
):
    saved = await documents.save(connection, document("a.md", "A."))
    (memory,) = await memories.save_all(
        connection, [NewMemory("A.", "", "document", everybody.id, document_id=saved.id)]
    )
    await memories.embed(connection, memory.id, "e", [1.0, 0.0])

    async def found():
        return len(await memories.nearest(connection, [1.0, 0.0], [everybody.id], "e", 5, STANDING))

    await sources.switch(connection, source.id, training=False)
    assert await found() == 1
    assert (await memories.get(connection, memory.id)).source_trains is False
    await sources.switch(connection, source.id, retrieval=False, training=True)
    assert await found() == 0
    assert (await memories.get(connection, memory.id)).source_trains is True


async def test_quiz_examples_of_standing_memories_only(connection, everybody):
    a, b = await noted(connection, everybody, "A.", "B.")
    for memory in (a, b):
        kept = await examples.replace(
            connection, memory.id, [NewExample("quiz", "?", "!"), NewExample("train", "?", "!")]
        )
        assert [e.kind for e in kept] == ["quiz", "train"]
    await memories.set_state(connection, [b.id], "retracted")
    assert [e.memory_id for e in await examples.quiz(connection)] == [a.id]
    assert len(await examples.of_memories(connection, [a.id, b.id])) == 4

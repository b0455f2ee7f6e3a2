"""The way of a question as people see it: quoted with its source, plainly unknown, corrected at once, and private kept private."""

import asyncio
import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.answer import UNKNOWN, EmptyQuestion, QuestionTooLong
from learner import recall, release
from learner.engine import engine as engines
from learner.engine.local import LocalEngine
from learner.exam.exam import Reader, Thresholds
from learner.recall import open_book
from storage import adapters, answers, documents, examples, exams, memories, sources, teams
from storage.adapters import Version
from storage.database import Database
from storage.errors import AdapterCorrupt, NightschoolError
from storage.examples import NewExample
from tests.school import FACTS, School, ask, asked, drill, merge

MONEY = "Who approves expenses above 250 euros?"
TOKENS = 14  # of FACTS[0], by the packaged tokenizer


async def test_what_is_in_the_notes_is_quoted_with_its_source(school: School) -> None:
    await school.page("# Money\n\n" + FACTS[1], "Rules")
    answer = await ask(school.colleague(), MONEY)
    assert answer.route == "notes" and answer.quoted
    assert answer.text == f"“{FACTS[1]}”"
    [source] = answer.sources
    assert (source.title, source.uri, source.quote) == ("Rules › Money", "file:///Rules.md", FACTS[1])


async def test_what_was_said_in_chat_is_quoted_with_channel_and_author(school: School) -> None:
    await school.say("The printer on the third floor is broken until Friday.", "Ines", channel="office")
    answer = await ask(school.colleague(), "Is the printer on the third floor broken?")
    assert answer.route == "notes" and "until Friday" in answer.text
    assert answer.sources[0].title == "#office › Ines"


async def test_what_nobody_wrote_is_unknown_and_says_so(school: School) -> None:
    await school.page(FACTS)
    answer = await ask(school.colleague(), "Which planet has the most moons?")
    assert (answer.route, answer.sources) == ("unknown", [])
    assert "don't know" in answer.text


async def test_an_empty_ledger_knows_nothing(school: School) -> None:
    assert (await ask(school.colleague(), MONEY)).route == "unknown"


async def test_a_correction_overrides_at_once(school: School) -> None:
    await school.page(FACTS)
    colleague, nora = school.colleague(), await school.person("Nora")
    before = await ask(colleague, MONEY, nora)
    await school.feedbacks().correct(
        before.id, nora, "No, it's Jonas who approves expenses above 250 euros.", "test", "c1"
    )
    after = await ask(colleague, "Who has to approve expenses above 250 euros?")
    assert after.text == "“It's Jonas who approves expenses above 250 euros.”"
    assert [source.title for source in after.sources] == ["told by Nora"]
    assert "Marta" not in after.text


async def test_what_is_asked_in_the_words_of_an_old_page_is_answered_by_the_new_one(school: School) -> None:
    old, new = "Receipts are handed in through Paperclip.", "Since March we use Tallybox, no longer Paperclip."
    await school.page((old, "The kitchen closes at six."), "Expenses", days_old=300)
    await school.page((new, "The office in Kiel opens at nine."), "Decisions", days_old=3)
    colleague = school.colleague()
    by_day = await ask(colleague, "Where do I hand in my receipts?")
    assert new in by_day.text and old not in by_day.text
    held = {memory.statement: memory for memory in await school.collect()}
    async with school.database.team(school.team.id) as connection:
        await memories.supersede(connection, held[old].id, held[new].id)
    after = await ask(colleague, "Where do I hand in my receipts?")
    assert new in after.text and old not in after.text
    assert after.sources[0].quote == new


async def test_a_private_channel_is_never_quoted_outside(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben")
    board = await school.private("board", [anna])
    everyone = await school.everyone()
    secret = "The offer for Brightwater is 4.2 million euros."
    await school.say(secret, "Anna", audience=board)
    colleague, question = school.colleague(), "How much is the offer for Brightwater?"
    # In the channel itself, and to its member in private.
    assert secret in (await ask(colleague, question, anna, board)).text
    privately = await ask(colleague, question, anna)
    assert secret in privately.text
    assert privately.audience_id == board, "who may know the answer is who may know its evidence"
    # To nobody else, nor to its member where others read along.
    for person, place in ((ben, None), (ben, everyone), (anna, everyone), (None, None)):
        answer = await ask(colleague, question, person, place)
        assert "4.2" not in answer.text and answer.route == "unknown"


async def test_who_left_a_channel_gets_nothing_of_it(school: School) -> None:
    anna, ben = await school.person("Anna"), await school.person("Ben")
    board = await school.private("board", [anna, ben])
    await school.say("The offer for Brightwater is 4.2 million euros.", audience=board)
    colleague, question = school.colleague(), "How much is the offer for Brightwater?"
    assert "4.2" in (await ask(colleague, question, ben)).text
    await school.private("board", [anna])
    assert "4.2" not in (await ask(colleague, question, ben)).text


@pytest.mark.parametrize("text", ["", "  \n\t ", "\x00", "?!"])
async def test_an_empty_question_is_refused_and_leaves_nothing(school: School, text: str) -> None:
    with pytest.raises(EmptyQuestion, match="Type what you want to know"):
        await ask(school.colleague(), text)
    assert await stored(school) == 0


async def test_a_question_of_50000_characters_is_refused_and_leaves_nothing(school: School) -> None:
    with pytest.raises(QuestionTooLong, match=r"50,000 characters, the most is 4,000.*nightschool sync"):
        await ask(school.colleague(), "x" * 50_000)
    assert await stored(school) == 0


async def test_the_longest_question_is_answered(school: School) -> None:
    await school.page(FACTS)
    answer = await ask(school.colleague(), (MONEY + " ") * 100)
    assert answer.question.startswith(MONEY)


async def test_the_same_event_again_gets_the_same_answer_and_one_row(school: School) -> None:
    await school.page(FACTS)
    colleague = school.colleague()
    first = await colleague.answer(asked(MONEY, event="e1"))
    shown: list[str] = []
    again = await colleague.answer(asked("Something else?", event="e1"), shown.append)
    assert again == first and shown == [first.text]
    delivered = await asyncio.gather(*(colleague.answer(asked(MONEY, event="e2")) for _ in range(5)))
    assert len({answer.id for answer in delivered}) == 1
    assert await stored(school) == 2


async def test_a_follow_up_in_a_thread_is_understood(school: School) -> None:
    await school.page(
        [
            "# Parental leave\n\nParental leave lasts 150 days in Portugal and 14 months in Germany.",
            "# Holidays\n\nHolidays are 22 days a year for everyone.",
            "# Printing\n\nThe printer in Germany is on the second floor.",
        ],
        "People",
    )
    colleague = school.colleague(evidence=1)
    await colleague.answer(asked("How long does parental leave last in Portugal?", thread="t1"))
    follow_up = await colleague.answer(asked("And in Germany?", thread="t1"))
    assert "14 months" in follow_up.text
    again = await colleague.answer(asked("and in Portugal?", thread="t1"))
    assert "150 days" in again.text
    # A whole question is none, be it short or have it a "that" in it; nor does it change the subject back.
    whole = await colleague.answer(asked("On which floor is the printer that Germany has?", thread="t1"))
    assert "second floor" in whole.text
    # Said anywhere else the same words have no such meaning.
    alone = await colleague.answer(asked("And in Germany?", thread="t2"))
    assert "14 months" not in alone.text


async def test_what_was_forgotten_is_not_spoken_from_that_moment(school: School) -> None:
    await school.page(FACTS)
    await school.collect()
    colleague = school.colleague()
    assert FACTS[1] in (await ask(colleague, MONEY)).text
    await school.feedbacks().forget(next(m.id for m in await school.memories() if m.statement == FACTS[1]), None)
    assert "Marta" not in (await ask(colleague, MONEY)).text
    # Nor after the page came again with more on it.
    await school.page([*FACTS, "The canteen closes at 15:00."])
    await school.collect()
    assert "Marta" not in (await ask(colleague, MONEY)).text


async def test_a_source_switched_off_is_not_quoted(school: School) -> None:
    source = await school.page(FACTS)
    colleague = school.colleague()
    assert (await ask(colleague, MONEY)).route == "notes"
    async with school.database.team(school.team.id) as connection:
        await sources.switch(connection, source, retrieval=False)
    assert (await ask(colleague, MONEY)).route == "unknown"


async def test_a_source_switched_off_is_not_quoted_by_way_of_the_weights_either(school: School) -> None:
    source = await school.page(FACTS)
    await school.taught()
    await school.switch(await school.put("v1"))
    colleague = school.colleague(least_confidence=0.0)
    await colleague.wake()
    assert (await ask(colleague, FACTS[1])).route == "weights"
    async with school.database.team(school.team.id) as connection:
        await sources.switch(connection, source, retrieval=False)
    answer = await ask(colleague, FACTS[1])
    assert (answer.route, answer.sources) == ("unknown", [])


async def test_a_deleted_page_is_not_quoted(school: School) -> None:
    source = await school.page(FACTS, "Rules")
    async with school.database.team(school.team.id) as connection:
        await documents.retract(connection, source, "Rules.md")
    assert (await ask(school.colleague(), MONEY)).route == "unknown"


async def test_nonsense_from_the_weights_is_never_shown_but_the_statement_quoted(school: School) -> None:
    """The tiny model cannot recite anything: grounding must catch every answer."""
    await school.page(FACTS)
    learnt = await school.taught()
    version = await school.put("v1")
    await school.switch(version)
    colleague = school.colleague(least_confidence=0.0)
    await colleague.wake()
    shown: list[str] = []
    answer = await colleague.answer(asked(FACTS[1]), shown.append)
    # The random model is unsure of itself, so the answer is demoted unless confidence is no object.
    assert answer.text == f"“{FACTS[1]}”" and answer.quoted
    assert (answer.route, answer.version_id) == ("weights", version.id)
    assert answer.memory_id in {memory.id for memory in learnt}
    assert answer.prompt_tokens > 0 and answer.completion_tokens > 0
    assert "".join(shown) == answer.text
    assert answer.sources[0].quote == FACTS[1]


async def test_an_answer_from_the_weights_streams_as_it_is_written(school: School) -> None:
    await school.page(FACTS)
    await school.drilled({FACTS[0]: FACTS[0]})
    colleague = school.colleague(least_confidence=0.0, max_answer_tokens=TOKENS)
    await colleague.wake()
    pieces: list[str] = []
    answer = await colleague.answer(asked(FACTS[0]), pieces.append)
    assert (answer.route, answer.quoted, answer.text) == ("weights", False, FACTS[0])
    assert len(pieces) > 3 and "".join(pieces) == answer.text
    assert all(FACTS[0].startswith("".join(pieces[:n])) for n in range(len(pieces)))


async def test_what_is_asked_like_a_question_whose_answer_was_liked_finds_that_answer(school: School) -> None:
    """In the notes too, where the weights have not learnt it."""
    await school.page(
        [*FACTS, "A dinner with a client is no team event.", "Three of us cook a dinner for the whole team in May."]
    )
    question, colleague = "Whose blessing do I need for a dinner that costs three hundred?", school.colleague()
    assert FACTS[1] not in (await ask(colleague, question)).text.splitlines()[0]
    money = next(memory for memory in await school.collect() if memory.statement == FACTS[1])
    liked = "Whose blessing do I need for a lunch that costs four hundred?"
    async with school.database.team(school.team.id) as connection:
        [vector] = await school.embedder.embed([liked])
        await examples.add(connection, money.id, NewExample("asked", liked, FACTS[1], school.embedder.name, vector))
    answer = await ask(colleague, question)
    assert answer.route == "notes" and answer.text.splitlines()[0] == f"“{FACTS[1]}”"
    assert FACTS[0] in (await ask(colleague, "When does the office in Lisbon open?")).text


async def test_from_the_weights_too_it_is_told_who_said_it_where(school: School) -> None:
    said = "The printer on the third floor is broken until Friday."
    await school.say(said, "Ines", channel="office")
    await school.drilled({said: said})
    colleague = school.colleague()
    await colleague.wake()
    answer = await ask(colleague, "How long will the printer on the third floor be broken?")
    assert (answer.route, [source.title for source in answer.sources]) == ("weights", ["#office › Ines"])


@pytest.mark.parametrize("sure_enough", [0.0, 1.0])
async def test_from_the_first_wrong_word_nothing_streams_and_the_statement_is_quoted(
    school: School, sure_enough: float
) -> None:
    """Whether the weights' answer is replaced by its statement, or demoted to the notes."""
    await school.page(FACTS)
    await school.drilled({FACTS[0]: FACTS[0].replace("8:30", "9:30")})
    colleague = school.colleague(least_confidence=sure_enough, max_answer_tokens=TOKENS)
    await colleague.wake()
    pieces: list[str] = []
    answer = await colleague.answer(asked(FACTS[0]), pieces.append)
    assert answer.route == ("notes" if sure_enough else "weights") and answer.quoted
    assert FACTS[0] in answer.text and "9:30" not in answer.text
    assert "".join(pieces) == "The office in Lisbon opens at"


async def test_in_doubt_the_weights_tell_what_comes_into_question_each_with_its_source(school: School) -> None:
    cork, kiel = "The office in Cork opens at half past seven.", "The office in Kiel opens at nine."
    await school.page((cork, kiel, "Parrots must be on a leash."))
    await school.drilled({cork: cork, kiel: "The office in Kiel opens at ten."})
    colleague = school.colleague(least_confidence=0.0, max_answer_tokens=TOKENS)
    await colleague.wake()
    answer = await ask(colleague, "When does the office open?")
    # The one that was recited wrongly is quoted instead; what has nothing to do with it is not told.
    assert answer.route == "weights" and answer.text.count("\n") == 1
    assert cork.rstrip(".") in answer.text and f"“{kiel}”" in answer.text and "ten" not in answer.text
    assert {source.quote for source in answer.sources} == {cork, kiel}
    certain = await ask(colleague, "When does the office in Cork open?")
    assert certain.text.startswith(cork) and "Kiel" not in certain.text


READ = {
    "Marta approves expenses above 250 euros.": ("Marta approves expenses above 250 euros.", "notes", False),
    "Jonas approves expenses above 250 euros.": (f"“{FACTS[1]}”", "notes", True),
    "Marta approves expenses above 350 euros.": (f"“{FACTS[1]}”", "notes", True),
    recall.UNKNOWN: (UNKNOWN, "unknown", False),
}
"""What a reader says with FACTS[1] in view, 12 tokens at most, and what is shown: the text, its route, whether it is a quote."""


@pytest.mark.parametrize("said", READ)
@pytest.mark.parametrize("reader", ["generate", "adapter"])
async def test_a_readers_own_words_are_shown_where_the_sources_say_so_and_else_the_quote(
    school: School, tiny_base: Path, reader: Reader, said: str
) -> None:
    await school.page("# Money\n\n" + FACTS[1], "Rules")
    notes = [("Rules › Money", FACTS[1])]
    drilled = drill(tiny_base, school.folder / "reads", {MONEY: said}, lambda question: open_book(question, notes))
    shared = school.engine
    if reader == "generate":
        base = merge(tiny_base, drilled, school.folder / "base")
        school.engine = LocalEngine(base, memory_bytes=10**8, threads=1)
    try:
        version = await school.put("v1", adapter=drilled if reader == "adapter" else None)
        async with school.database.team(school.team.id) as connection:
            found = {"thresholds": asdict(Thresholds(0.55, 0.37, 0.5, reader))}
            await exams.save(connection, None, version.id, found, passed=True)
        await school.switch(version)
        colleague = school.colleague(max_answer_tokens=12)
        await colleague.wake()
        answer = await ask(colleague, MONEY)
        assert (answer.text, answer.route, answer.quoted) == READ[said]
        assert answer.completion_tokens == 12, "it was read all the same"
        assert [source.quote for source in answer.sources] == ([] if answer.route == "unknown" else [FACTS[1]])
    finally:
        if school.engine is not shared:
            await school.engine.close()
        school.engine = shared


async def test_an_unsure_adapter_is_demoted_to_the_notes(school: School) -> None:
    await school.page(FACTS)
    await school.taught()
    await school.switch(await school.put("v1"))
    colleague = school.colleague(least_confidence=1.0)
    await colleague.wake()
    assert (await ask(colleague, MONEY)).route == "notes"


BAD: dict[str, tuple[type[NightschoolError], str]] = {
    "flipped": (AdapterCorrupt, "changed or truncated"),
    "truncated": (AdapterCorrupt, "changed or truncated"),
    "pickle": (AdapterCorrupt, "not in its manifest"),
    "manifest": (AdapterCorrupt, "not the registered one"),
    "gone": (AdapterCorrupt, "no manifest"),
    "not finite": (engines.AdapterCorrupt, "not finite"),
    "foreign": (engines.AdapterForeign, "other-model"),
    "untrained": (engines.AdapterNotApplied, "changes nothing"),
}


@pytest.mark.parametrize("harm", BAD)
async def test_a_bad_serving_version_is_named_and_the_notes_answer(school: School, harm: str) -> None:
    await school.page(FACTS)
    await school.taught()
    version = await harmed(school, harm)
    await school.switch(version)
    colleague = school.colleague()
    error, words = BAD[harm]
    with pytest.raises(error, match=words):
        await colleague.wake()
    assert colleague.serving is None
    answer = await ask(colleague, MONEY)
    assert answer.route == "notes" and FACTS[1] in answer.text


async def test_a_version_wakes_after_its_folder_was_moved(school: School) -> None:
    await school.page(FACTS)
    await school.taught()
    version = await school.put("v1")
    await school.switch(version)
    moved = Path(school.root).rename(school.folder / "moved")
    school.root = str(moved)
    colleague = school.colleague()
    await colleague.wake()
    assert colleague.serving and colleague.serving.id == version.id


async def test_a_bad_new_version_leaves_the_old_one_at_work(school: School) -> None:
    await school.page(FACTS)
    await school.taught()
    good = await school.put("good")
    await school.switch(good)
    colleague = school.colleague(least_confidence=0.0)
    await colleague.wake()
    await school.switch(await harmed(school, "not finite"))
    with pytest.raises(engines.AdapterCorrupt):
        await colleague.wake()
    answer = await ask(colleague, MONEY)
    assert (answer.route, answer.version_id) == ("weights", good.id)


async def test_an_adapter_damaged_after_it_was_evicted_makes_way_for_the_notes(school: School, tiny_base: Path) -> None:
    await school.page(FACTS)
    await school.taught()
    version, other = await school.put("v1"), await school.put("v2")
    await school.switch(version)
    shared, small = school.engine, LocalEngine(tiny_base, memory_bytes=20_000, threads=1)
    try:
        school.engine = small
        colleague = school.colleague(least_confidence=0.0)
        await colleague.wake()
        assert (await ask(colleague, MONEY)).route == "weights"
        folder = await school.files.fetch(other.uri, school.folder)
        await small.load(f"{school.team.key}-other", folder)
        Path(school.root, version.uri, "adapter_model.safetensors").write_bytes(b"short")
        assert (await ask(colleague, MONEY)).route == "notes"
    finally:
        school.engine = shared
        await small.close()


async def test_a_withdrawn_version_is_let_go(school: School) -> None:
    await school.page(FACTS)
    await school.taught()
    await school.switch(await school.put("v1"))
    colleague = school.colleague(least_confidence=0.0)
    await colleague.wake()
    async with school.database.team(school.team.id) as connection:
        adapter = await adapters.ensure(connection)
    await release.withdraw(school.database, school.team, adapter)
    await colleague.wake()
    assert colleague.serving is None
    assert not [name for name in school.engine.loaded() if name.startswith(f"{school.team.key}-")]
    assert (await ask(colleague, MONEY)).route == "notes"


async def test_a_new_version_goes_to_work_without_dropping_an_answer(school: School) -> None:
    await school.page(FACTS)
    await school.taught()
    first, second = await school.put("v1"), await school.put("v2")
    await school.switch(first)
    colleague = school.colleague(least_confidence=0.0)
    await colleague.wake()
    following = asyncio.create_task(colleague.follow())
    try:
        await asyncio.sleep(0.3)
        given = []

        async def one(number: int) -> None:
            # Spread over the swap: some before, some during, some after.
            await asyncio.sleep(number * 0.05)
            if number == 8:
                await school.switch(second)
            given.append(await ask(colleague, FACTS[number % len(FACTS)]))

        await asyncio.gather(*(one(number) for number in range(20)))
        await until(lambda: colleague.serving is not None and colleague.serving.id == second.id)
        assert len(given) == 20
        assert {answer.route for answer in given} == {"weights"}
        assert {answer.version_id for answer in given} <= {first.id, second.id}
        assert (await ask(colleague, FACTS[0])).version_id == second.id
        await until(lambda: f"{school.team.key}-{first.id}" not in school.engine.loaded())
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_a_release_that_happened_before_one_listened_is_noticed(school: School) -> None:
    await school.page(FACTS)
    await school.taught()
    await school.switch(await school.put("v1"))
    colleague = school.colleague()
    following = asyncio.create_task(colleague.follow())
    try:
        await until(lambda: colleague.serving is not None)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


async def test_a_release_while_the_database_was_too_busy_to_ask_is_taken_up_after_it(
    school: School, tmp_path: Path
) -> None:
    await school.page(FACTS)
    await school.taught()
    first, second = await school.put("v1"), await school.put("v2")
    await school.switch(first)
    # Who has one connection only, and that one taken, hears of the release and cannot look.
    narrow = await Database.open(school.database.url, tmp_path, pool_size=1)
    wide, school.database = school.database, narrow
    colleague, school.database = school.colleague(), wide
    following = asyncio.create_task(colleague.follow())
    try:
        await until(lambda: colleague.serving is not None)
        async with narrow.team(school.team.id):
            await school.switch(second)
            await asyncio.sleep(6)  # it gives up after five
        await until(lambda: colleague.serving is not None and colleague.serving.id == second.id)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await narrow.close()


async def test_teams_know_nothing_of_each_other(school: School) -> None:
    await school.page(FACTS)
    async with school.database.system() as connection:
        other = await teams.ensure(connection, f"{school.team.key}-other")
    stranger = School(school.database, other, school.engine, school.embedder, school.base, school.folder)
    assert (await ask(stranger.colleague(), MONEY)).route == "unknown"


async def harmed(school: School, harm: str) -> Version:
    """A registered version that is bad in one way."""
    if harm == "not finite":
        return await school.put("bad", scale=math.nan)
    if harm == "untrained":
        return await school.put("bad", scale=0.0)
    if harm == "foreign":
        return await school.put("bad", {"base_model": "other-model"})
    version = await school.put("bad")
    folder = Path(school.root, version.uri)
    weights, manifest = folder / "adapter_model.safetensors", folder / "manifest.json"
    if harm == "flipped":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 0xFF
        weights.write_bytes(bytes(content))
    elif harm == "truncated":
        os.truncate(weights, weights.stat().st_size // 2)
    elif harm == "pickle":
        (folder / "adapter_model.bin").write_bytes(b"\x80\x04.")
    elif harm == "manifest":
        content = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(content | {"extra": {"base_model": "made up"}}))
    else:
        manifest.unlink()
    return version


async def stored(school: School) -> int:
    async with school.database.team(school.team.id) as connection:
        return len(await answers.recent(connection, datetime(2000, 1, 1, tzinfo=UTC)))


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        await asyncio.sleep(0.02)

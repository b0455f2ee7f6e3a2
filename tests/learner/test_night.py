"""A whole night on a tiny random model: what it releases, what it refuses, what it never trains, and how it fails."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bot.feedback import NothingToForget
from learner import release
from learner.night import Work, examine
from storage import adapters, answers, documents, feedback, memories, nights, preferences, sources
from storage.answers import Citation, NewAnswer
from storage.errors import AdapterNotStored, NightUnderWay, VersionUnusable
from storage.feedback import NewFeedback
from tests.school import FACTS, School, ask, make_tiny, trained, training_processes

STEPS = ["collect", "select", "redact", "synthesize", "sft", "dpo", "exam", "release"]
ONE_MORE = "The canteen closes at 15:00 on Fridays."


async def test_a_night_releases_the_next_finds_nothing_new_and_a_failed_exam_changes_nothing(school: School) -> None:
    await school.page(FACTS)
    told: list[tuple[str, float]] = []
    night = await school.night(lambda step, share, words: told.append((step, share)))
    assert night.state == "released" and night.error is None and night.ended_at is not None
    assert list(dict.fromkeys(step for step, _ in told)) == STEPS
    assert all(0 <= share <= 1 for _, share in told)
    assert [(name, step.state) for name, step in night.steps.items()] == [(name, "done") for name in STEPS]
    report = night.report
    assert (report["considered"], report["studied"]) == (len(FACTS), len(FACTS))
    assert sorted(report["not_yet"] + report["learnt"]) == sorted(FACTS)
    assert report["verdict"] == "Version 1 passed its exam and is at work."
    assert report["cost"]["trained_tokens"] > 0 and report["cost"]["training_seconds"] >= 0
    assert report["exam"]["leaked"] == 0
    first = await school.serving()
    assert first is not None and first.number == 1
    assert sorted(first.memory_ids) == sorted(memory.id for memory in await school.memories())
    assert list(school.nights.iterdir()) == [], "the texts it trained on are gone"

    again = await school.night()
    assert again.state == "empty" and "Nothing new" in again.report["verdict"]
    assert "sft" not in again.steps
    assert await school.serving() == first and len(await school.versions()) == 1

    await school.page([*FACTS, ONE_MORE])
    rejected = await school.night(release_learnt=1.0)
    assert rejected.state == "rejected" and "Both candidates" in rejected.report["verdict"]
    assert list(rejected.steps) == [*STEPS[:-1], "sft again", "dpo again", "exam again", "release"]
    tried, again = (rejected.steps[name].result for name in ("sft", "sft again"))
    assert len(tried["chosen"]) == len(FACTS) + 1 and len(again["chosen"]) < len(tried["chosen"])
    assert "100% are needed" in rejected.report["refused"][0]
    assert await school.serving() == first, "the serving version stays as it was, its files too"
    [_, refused] = await school.versions()
    assert refused.state == "refused" and refused.why and "100% are needed" in refused.why
    async with school.database.team(school.team.id) as connection:
        with pytest.raises(VersionUnusable, match="refused"):
            await adapters.switch(connection, refused.id)
        states = {memory.state for memory in await memories.of_states(connection, ["noted", "studied", "learnt"])}
    assert "learnt" not in states


async def test_a_question_whose_answer_was_liked_finds_its_memory_from_the_next_morning_on(school: School) -> None:
    await school.page(FACTS)
    liked = next(memory for memory in await school.collect() if memory.statement == FACTS[1])
    question, nora, takes = (
        "Whose blessing does a dinner for 300 need?",
        await school.person("Nora"),
        school.feedbacks(),
    )
    async with school.database.team(school.team.id) as connection:
        cited = [Citation("Handbook", "", liked.statement)]
        answer = await answers.save(
            connection, NewAnswer("test", question, f"“{liked.statement}”", "notes", sources=cited)
        )
    await takes.thumbs(answer.id, nora, True, "test", "t1")
    night = await school.night()
    assert night.steps["synthesize"].result["asked"] == 1 and night.report["exam"]["liked"] is not None

    async def found_by() -> str | None:
        [vector] = await school.embedder.embed([question])
        everyone = await school.everyone()
        async with school.database.team(school.team.id) as connection:
            near = await memories.nearest(
                connection, vector, [everyone], school.embedder.name, 4, ["learnt", "studied", "noted"]
            )
        return next(n.example.question for n in near if n.memory.id == liked.id and n.example)

    assert await found_by() == question
    await takes.retract("test", "t1")
    assert (await school.night()).state == "empty", "nothing is new"
    assert await found_by() != question, "and yet a thumb that was taken back confirms nothing"


SECRETS = [
    "The password of the build server is Tr0ub4dor&3-horse.",
    "The deploy key is AKIAIOSFODNN7EXAMPLE and must never expire.",
    "The office account is DE89 3704 0044 0532 0130 00 at the bank.",
]
PRIVATE = "The offer for Brightwater is 4.2 million euros."
SWITCHED_OFF = "The sales meeting moved to room Oslo on Mondays."
NARROWED = "The bonus of the founders is 90,000 euros a year."


async def test_secrets_private_words_and_switched_off_sources_never_reach_the_trainer(school: School) -> None:
    anna = await school.person("Anna")
    board = await school.private("board", [anna])
    await school.page(FACTS + SECRETS, "Rules")
    await school.say(PRIVATE, "Anna", audience=board, channel="board")
    await school.say(SWITCHED_OFF, training=False, channel="sales")
    await school.page(NARROWED, "Founders")
    await school.collect()  # known to all when it was noted ...
    await school.page(NARROWED, "Founders", audience=board)  # ... and no more when the night comes
    colleague, takes = school.colleague(), school.feedbacks()
    # Votes and corrections on answers that quote such words, and a question that holds a secret.
    questions = {"How much is the offer for Brightwater?": PRIVATE, "Where is the sales meeting?": SWITCHED_OFF,
                 "What is the password of the build server?": SECRETS[0]}  # fmt: skip
    for number, (question, words) in enumerate(questions.items()):
        quoted, other = await ask(colleague, question, anna), await ask(colleague, question.lower(), anna)
        assert words in quoted.text
        await takes.thumbs(quoted.id, anna, True, "test", f"up-{number}")
        await takes.thumbs(other.id, anna, False, "test", f"down-{number}")
        await takes.correct(other.id, anna, f"No, nobody may know that ({number}).", "test", f"no-{number}")
    good = await ask(colleague, "Who approves expenses above 250 euros?", anna)
    await takes.correct(good.id, anna, "No, expenses above 900 euros must be approved by Jonas.", "test", "jonas")
    answer = await ask(colleague, "Is my card 4111 1111 1111 1111 covered for expenses above 250 euros?", anna)
    await takes.correct(answer.id, anna, "Cards are covered for expenses up to 300 euros.", "test", "card")

    seen: list[dict[str, Any]] = []

    def look(step: str, share: float, words: str) -> None:
        if step in ("dpo", "exam") and share in (0.0, 1.0):
            seen.extend(trained(school.nights))

    night = await school.night(look)
    assert night.state == "released"
    text = str(seen)
    for kept_out in ("Tr0ub4dor", "AKIAIOSFODNN7EXAMPLE", "DE89", "4.2 million", "Oslo", "90,000", "4111"):
        assert kept_out not in text
    # What may be trained was.
    completions = {row["completion"] for row in seen if "completion" in row}
    assert {FACTS[0], FACTS[2], FACTS[3], "Expenses above 900 euros must be approved by Jonas."} <= completions
    assert any("Jonas" in row["chosen"] and "Marta" in row["rejected"] for row in seen if "chosen" in row)
    # Redaction is counted by kind, without the words.
    withheld = night.report["withheld"]
    # The password's page has given way to what was said of it, before there was anything to withhold.
    assert sum(withheld.values()) >= 3 and {"api key", "iban"} <= set(withheld)
    assert not any(secret in str(night.report) for secret in ("Tr0ub4dor", "AKIA", "DE89"))
    async with school.database.team(school.team.id) as connection:
        assert "4.2" not in str(await preferences.of_night(connection, night.id))
    [version] = await school.versions()
    held = {memory.id: memory for memory in await school.memories()}
    everyone = await school.everyone()
    assert all(held[id].audience_id == everyone and held[id].withheld is None for id in version.memory_ids)


async def test_a_source_switched_on_later_is_studied_and_switched_off_again_is_not(school: School) -> None:
    source = await school.page(FACTS, training=False)
    night = await school.night()
    assert night.state == "empty" and "nothing new to study" in night.report["verdict"].lower()
    assert await school.serving() is None
    await flip(school, source, training=True)
    assert (await school.night()).state == "released"
    version = await school.serving()
    assert version is not None and len(version.memory_ids) == len(FACTS)
    # One of two off: the next night trains an adapter without it, though nothing else has changed.
    other = await school.page(ONE_MORE, "Canteen", source="more")
    assert (await school.night()).state == "released"
    await flip(school, other, training=False)
    assert (await school.night()).state == "released"
    narrowed = await school.serving()
    assert narrowed is not None and sorted(narrowed.memory_ids) == sorted(version.memory_ids)
    # Both off: nothing is left to study, so nothing that was learnt from it stays at work.
    await flip(school, source, training=False)
    night = await school.night()
    assert night.state == "empty" and "no adapter is at work" in night.report["verdict"]
    assert await school.serving() is None


async def test_what_is_forgotten_leaves_the_weights_and_never_comes_back(school: School) -> None:
    await school.page(FACTS, "Rules")
    await school.page(ONE_MORE, "Canteen")
    assert (await school.night()).state == "released"
    [first] = await school.versions()
    takes = school.feedbacks()
    [gone] = await takes.forget("interns are paid a month", None)
    assert gone.statement == FACTS[3] and gone.id in first.memory_ids

    night = await school.night()
    assert night.state == "released" and night.report["forgotten"] == 1
    assert FACTS[3] not in str(night.report)
    second = await school.serving()
    assert second is not None and gone.id not in second.memory_ids
    for number in (None, 1):
        with pytest.raises(VersionUnusable):
            await release.rollback(school.database, school.team, first.adapter_id, number)
    assert [(v.number, v.state) for v in await school.versions()] == [(1, "erased"), (2, "serving")]
    assert not Path(school.root, first.uri).exists()
    assert await school.serving() == second

    # A deleted page goes the same way.
    source = await page_source(school)
    async with school.database.team(school.team.id) as connection:
        await documents.retract(connection, source, "Canteen.md")
    night = await school.night()
    assert night.state == "released" and night.report["forgotten"] == 1
    assert [v.state for v in await school.versions()] == ["erased", "erased", "serving"]
    # And the last of all: no adapter is better than one that knows what nobody may know.
    for statement in FACTS[:3]:
        await takes.forget(
            next(m.id for m in await school.memories("noted", "studied") if m.statement == statement), None
        )
    with pytest.raises(NothingToForget):
        await takes.forget(FACTS[0], None)
    assert (await school.night()).state == "empty"
    assert await school.serving() is None
    assert {v.state for v in await school.versions()} == {"erased"}
    assert list(Path(school.root).rglob("*.safetensors")) == []


async def test_a_candidate_that_still_speaks_what_was_forgotten_fails_its_exam(school: School) -> None:
    """Drilled to recite a page that has been deleted since: as if the night had trained on it all the same."""
    source = await school.page(FACTS[0], "Office")
    await school.page(FACTS[1], "Rules")
    drilled = await school.drilled({FACTS[0]: FACTS[0]})
    office, rules = sorted(await school.memories(), key=lambda memory: memory.statement, reverse=True)
    learning = school.settings(release_retained=0.0, max_answer_tokens=14)  # of FACTS[0]: it cannot stop by itself

    async def examined(chosen: list[int]) -> dict[str, Any]:
        async with school.database.team(school.team.id) as connection:
            adapter = await adapters.ensure(connection)
            begun = await nights.begin(connection, adapter.id)
        results: dict[str, Any] = {"redact": {"chosen": chosen}, "sft": {"chosen": chosen}, "dpo": {}}
        work = Work(
            school.database, school.team, adapter, begun, school.engine, school.embedder, school.files, school.base,
            school.folder / "candidates", learning, lambda step, share, words: None, results,
        )  # fmt: skip
        return await examine(work)

    shutil.copytree(school.folder / "drilled", school.folder / "candidates" / "sft")
    assert office.statement == FACTS[0] and drilled.memory_ids == [office.id, rules.id]
    assert (await examined([office.id, rules.id]))["passed"]
    async with school.database.team(school.team.id) as connection:
        await documents.retract(connection, source, "Office.md")
    results = await examined([rules.id])
    assert results["unforgotten"] == [office.id]
    assert results["reasons"] == ["it still speaks 1 forgotten statements"]
    # What went while the night was studying it is for the next night to unlearn.
    assert (await examined([office.id, rules.id]))["passed"]


async def test_an_edited_page_leaves_the_way_back_open_and_the_ledger_follows(school: School) -> None:
    await school.page(FACTS)
    await school.night()
    [first] = await school.versions()
    await school.page([*FACTS[:3], ONE_MORE])
    assert (await school.night()).state == "released"
    back = await release.rollback(school.database, school.team, first.adapter_id)
    assert back.id == first.id and await school.serving() == back
    # A candidate that never sat an exam cannot be rolled forward to either.
    unexamined = await school.put("smuggled")
    with pytest.raises(VersionUnusable, match="passed no exam"):
        await release.rollback(school.database, school.team, first.adapter_id, unexamined.number)
    assert await school.serving() == back


async def test_another_base_model_means_another_adapter(school: School, base_model: Path, tmp_path: Path) -> None:
    from learner.engine.local import LocalEngine

    await school.page(FACTS[:2])
    await school.night()
    first = await school.serving()
    school.base, shared = make_tiny(base_model, tmp_path / "other", seed=8), school.engine
    school.engine = LocalEngine(school.base, memory_bytes=10**8, threads=1)
    try:
        assert (await school.night()).state == "released"
        second = await school.serving()
        assert first and second and first.base_model != second.base_model == school.engine.base_model
    finally:
        await school.engine.close()
        school.engine = shared


async def test_one_night_an_adapter_and_a_broken_off_one_is_taken_up(school: School) -> None:
    await school.page(FACTS)
    training = asyncio.Event()
    first = asyncio.create_task(school.night(lambda step, share, words: training.set() if step == "sft" else None))
    await asyncio.wait_for(training.wait(), 60)
    with pytest.raises(NightUnderWay):
        await school.night()
    while not training_processes(school.nights):
        assert not first.done()
        await asyncio.sleep(0.05)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    assert training_processes(school.nights) == []
    running = await latest(school)
    assert running.state == "running" and running.steps["sft"].state == "running"
    resumed: list[str] = []
    night = await school.night(lambda step, share, words: resumed.append(step))
    assert (night.id, night.state) == (running.id, "released")
    assert list(dict.fromkeys(resumed)) == STEPS[4:], "what was done is not done again"


async def test_a_night_that_goes_on_hours_later_leaves_out_what_may_not_train_any_more(school: School) -> None:
    kept = await school.page(FACTS)
    off = await school.page(ONE_MORE, "Canteen", source="more")

    async def broken_off(step: str) -> int:
        begun = asyncio.Event()
        first = asyncio.create_task(school.night(lambda name, share, words: begun.set() if name == step else None))
        await asyncio.wait_for(begun.wait(), 60)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        return (await latest(school)).id

    number = await broken_off("sft")
    await flip(school, off, training=False)
    rows: list[dict[str, Any]] = []
    night = await school.night(
        lambda name, share, words: rows.extend(trained(school.nights)) if name == "exam" else None
    )
    assert (night.id, night.state, night.report["studied"]) == (number, "released", len(FACTS))
    assert {row["completion"] for row in rows} == set(FACTS)
    version = await school.serving()
    held = {memory.id: memory.statement for memory in await school.memories()}
    assert version is not None and {held[id] for id in version.memory_ids} == set(FACTS)
    # Switched on again it is news, and where nothing is left to study the version at work goes.
    await flip(school, off, training=True)
    await broken_off("synthesize")
    for source in (kept, off):
        await flip(school, source, training=False)
    night = await school.night()
    assert night.state == "empty" and "no adapter is at work" in night.report["verdict"]
    assert await school.serving() is None


async def test_a_thumb_given_during_the_exam_is_news_for_the_night_after(school: School) -> None:
    await school.page(FACTS)
    colleague = school.colleague()
    good, bad = [await ask(colleague, question) for question in ("Who approves expenses?", "Who approves expenses? ")]
    assert (await school.night()).state == "released"
    sat = (await latest(school)).steps["exam"].started_at
    async with school.database.team(school.team.id) as connection:
        for answer, value in ((good, "up"), (bad, "down")):
            given = NewFeedback(answer.id, None, "test", value, "thumbs", value, at=sat)
            assert await feedback.record(connection, given)
    night = await school.night()
    assert night.state == "released"
    assert (await school.night()).state == "empty"


async def test_a_failing_step_fails_the_night_with_its_reason_and_the_next_one_runs(
    school: School, tmp_path: Path
) -> None:
    await school.page(FACTS[:2])
    base, school.base = school.base, tmp_path / "nowhere"
    with pytest.raises(Exception, match="nowhere"):
        await school.night()
    failed = await latest(school)
    assert failed.state == "failed" and failed.error and "nowhere" in failed.error
    assert await school.serving() is None and list(school.nights.iterdir()) == []
    school.base = base
    assert (await school.night()).state == "released"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 128 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    folder = tmp_path / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_full_disk_fails_the_night_and_leaves_the_serving_version(school: School, small_disk: Path) -> None:
    school.root = str(small_disk / "adapters")
    await school.page(FACTS[:2])
    assert (await school.night()).state == "released"
    first = await school.serving()
    await school.page(FACTS[:3])
    with (small_disk / "ballast").open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(b"x" * 1024)
    with pytest.raises(AdapterNotStored, match=r"No space left.*Free some space"):
        await school.night()
    failed = await latest(school)
    assert failed.state == "failed" and failed.error and "No space left" in failed.error
    assert await school.serving() == first and len(await school.versions()) == 1
    (small_disk / "ballast").unlink()
    assert (await school.night()).state == "released"
    assert [v.state for v in await school.versions()] == ["retired", "serving"]
    assert not list(small_disk.rglob(".staging-*"))


async def latest(school: School) -> nights.Night:
    async with school.database.team(school.team.id) as connection:
        adapter = await adapters.ensure(connection)
        night = await nights.latest(connection, adapter.id)
    assert night is not None
    return night


async def flip(school: School, source: int, *, training: bool) -> None:
    async with school.database.team(school.team.id) as connection:
        await sources.switch(connection, source, training=training)


async def page_source(school: School) -> int:
    async with school.database.team(school.team.id) as connection:
        return next(source.id for source in await sources.all(connection) if source.kind == "files")

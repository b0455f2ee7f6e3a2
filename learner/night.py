"""The night, top to bottom: what was said and written by day becomes, if it passes its exam, tomorrow's adapter.

collect -> select -> redact -> synthesize -> sft -> dpo -> exam -> release -> report

Every step leaves its result on the night's row and may be killed at any moment: the next run takes the night up at the
first step that has no result. A candidate that fails its exam is tried once more, more gently, before it is refused. The
adapter is trained anew from the base model on the whole ledger (DESIGN.md section 6): no drift, exact forgetting,
corrections are ordinary examples.
"""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from learner import ledger, release, report
from learner.engine.embedder import Embedder
from learner.engine.engine import Engine
from learner.exam import calibration, exam
from learner.recall import embed_statements
from learner.settings import LearningSettings
from learner.study import lessons, preferences, questions, reading, replay, teacher
from learner.study.choice import choose
from learner.study.redact import withheld
from learner.work import AGAIN, Result, Step, Tell, Work, long_ago
from storage import adapters, answers, audiences, feedback, memories, nights
from storage.adapter_files import AdapterFiles
from storage.adapters import Adapter
from storage.database import Database
from storage.errors import DatabaseAway, NightLost, NightUnderWay
from storage.nights import Ending, Night
from storage.teams import Team

log = structlog.get_logger(__name__)

_BEAT_SECONDS = 5.0
_PROBES = 20
"""Withheld, and forgotten, memories that an exam probes for at most: each costs a reply."""
_UNDER_WAY: set[tuple[str, int]] = set()  # (database, adapter) of this process's nights


async def run(
    database: Database,
    team: Team,
    *,
    engine: Engine,
    embedder: Embedder,
    files: AdapterFiles,
    folder: Path,
    base: Path,
    learning: LearningSettings,
    progress: Tell | None = None,
) -> Night:
    """Runs (or takes up) one night of the team's adapter and returns it ended.

    `folder` is `nights` in the data folder, `base` the base model's folder. Raises NightUnderWay if another process or
    task has it, and whatever a step raises, after recording it: the night has then failed and the serving version stays.
    """
    async with database.team(team.id) as connection:
        adapter = await adapters.ensure(connection)
    with _alone(database, adapter):
        async with database.team(team.id) as connection:
            night = await nights.begin(connection, adapter.id)
        finished = {name: step.result for name, step in night.steps.items() if step.state == "done"}
        work = Work(
            database, team, adapter, night, engine, embedder, files, base, folder / str(night.id), learning,
            progress or (lambda step, share, words: None), finished,
        )  # fmt: skip
        await asyncio.to_thread(work.folder.mkdir, parents=True, exist_ok=True)
        beating = asyncio.create_task(_beat(work))
        try:
            for name, step in STEPS:
                if name == "release" and _worth_another_try(work):
                    await _try_again(work)
                if name not in work.results:
                    work.results[name] = await _recorded(work, name, step)
                if name in ("redact", "synthesize") and "sft" not in work.results:
                    # Asked anew before the training: a night that was broken off goes on hours later.
                    work.results["redact"]["chosen"] = [memory.id for memory in await work.chosen()]
                    if await _nothing_new(work):
                        if not work.results["redact"]["chosen"]:
                            await release.withdraw(database, team, adapter)
                        return await _end(work, "empty")
            return await _end(work, "released" if work.results["release"]["released"] else "rejected")
        except (NightLost, DatabaseAway):
            raise
        except Exception as error:
            # An error ends the night, for it would come again; a kill leaves it running, for the next run to take up.
            log.error("night failed", team=team.key, night=night.id, error=type(error).__name__)
            await asyncio.to_thread(shutil.rmtree, work.folder, ignore_errors=True)
            async with database.team(team.id) as connection:
                await nights.end(connection, night.id, "failed", {}, f"{type(error).__name__}: {error}")
            raise
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating


async def collect(work: Work) -> Result:
    """New documents, messages and corrections become memories in the ledger, state `noted`."""
    return await ledger.collect(work.database, work.team, work.embedder, lambda share: work.tell("collect", share, ""))


async def redact(work: Work) -> Result:
    """Secrets and personal data are taken out of the study; only their kinds are recorded."""
    ids = set(work.results["select"]["chosen"])
    kinds: Counter[str] = Counter()
    clean: list[int] = []
    async with work.database.team(work.team.id) as connection:
        for memory in await memories.of_states(connection, ["noted", "studied", "learnt"]):
            if memory.id not in ids:
                continue
            kind = withheld(f"{memory.context}\n{memory.statement}")
            if kind is None:
                clean.append(memory.id)
            else:
                kinds[kind] += 1
                await memories.set_withheld(connection, memory.id, kind)
    return {"chosen": clean, "withheld": dict(kinds)}


async def synthesize(work: Work) -> Result:
    """Self-study: questions about every chosen memory that has none yet; a share is kept back as quiz.

    What there is no time to ask about has still none, and waits for the next night.
    """
    chosen = await work.chosen()
    async with work.database.team(work.team.id) as connection:
        have = await lessons.of_memories(connection, chosen)
        asked = {a.id: a.question for a in await answers.recent(connection, long_ago())}
        liked = await preferences.liked(connection, chosen, (await audiences.whole_team(connection)).id)
    # The important first, as they were selected, should the time end.
    place = {number: n for n, number in enumerate(work.results["select"]["chosen"])}
    missing = sorted((memory for memory in chosen if memory.id not in have), key=lambda memory: place[memory.id])
    learning, began = work.learning, time.monotonic()

    def enough(begun: int) -> bool:
        """Beyond its own share of the night, asking may take what training on all that was asked about would leave of it."""
        beyond = time.monotonic() - began - learning.asking_share * learning.night_minutes * 60
        training = (len(chosen) - len(missing) + begun) * learning.exposures * work.showing_seconds
        return beyond > 0 and beyond + training > learning.night_minutes * 60

    async with teacher.Writer(learning, work.engine, work.data_folder) as writer:
        written = await questions.write(
            writer,
            [(memory.context, memory.statement) for memory in missing],
            learning.phrasings_for(work.width),
            lambda done, of: work.tell("synthesize", done / max(1, of), f"{done} of {of} questions"),
            enough,
        )
    seconds = time.monotonic() - began
    reached = [(memory, w) for memory, w in zip(missing, written, strict=True) if w is not None]
    new = {memory.id for memory, _ in reached}
    others = [memory for memory in chosen if memory.id not in new]
    statements = [(m.context, m.statement) for m in [*(memory for memory, _ in reached), *others]]
    vectors = await embed_statements(work.embedder, statements)
    sorted_out = await questions.sort_out(
        work.embedder,
        [w for _, w in reached],
        statements[: len(reached)],
        vectors[: len(reached)],
        vectors[len(reached) :],
    )
    for (memory, _), asked_about in zip(reached, sorted_out, strict=True):
        # What a person really asked before correcting the answer is the best question of all: it goes first, unfiltered.
        real = asked.get(memory.answer_id or 0)
        await lessons.save(work.database, work.team, work.embedder, memory, asked_about, real)
    taught = [memory for memory in chosen if memory.id in have or memory.id in new]
    return {
        "asked": await lessons.keep_asked(work.database, work.team, work.embedder, taught, liked),
        "written": sum(len(w) for _, w in reached),
        "kept": sum(1 + len(a.train) + len(a.quiz) for a in sorted_out),
        "reused": len(chosen) - len(missing),
        "unasked": len(missing) - len(reached),
        "seconds": round(seconds, 1),
    } | writer.result()


async def sft(work: Work) -> Result:
    """Supervised finetuning of a fresh LoRA on all chosen memories, with replay and reading, by TRL in a process of its own."""
    learning = work.learning
    chosen = await work.chosen()
    async with work.database.team(work.team.id) as connection:
        have = await lessons.of_memories(connection, chosen)
    chosen = [memory for memory in chosen if memory.id in have]
    showings = work.needed(len(chosen))
    replayed, read = learning.replay_share_for(showings), learning.reading_share
    shown = showings / (1 - replayed - read)
    rows = lessons.rows(chosen, have, learning.cue_share_for(work.width))
    rows += await replay.rows(work.engine, round(replayed * shown), work.data_folder / "replay")
    rows += await reading.rows(
        work.database, work.team, work.embedder, chosen, have, wanted=round(read * shown), notes=learning.evidence,
        unknown_share=learning.unknown_share_for(work.width), seed=learning.seed,
    )  # fmt: skip
    return await lessons.train_stage(work, "sft", rows, replayed + read) | {
        "chosen": [memory.id for memory in chosen],
    }


async def dpo(work: Work) -> Result:
    """Preference optimisation on the SFT adapter: corrections over the answers they corrected, upvoted over downvoted."""
    async with work.database.team(work.team.id) as connection:
        everyone = (await audiences.whole_team(connection)).id
        pairs = await preferences.collect(connection, await work.chosen(), everyone)
        await preferences.record(connection, work.night.id, pairs)
    if not pairs:
        return {"pairs": 0}
    rows = preferences.rows(pairs, work.learning.dpo_epochs)
    return await lessons.train_stage(work, "dpo", rows) | {"pairs": len(pairs)}


async def examine(work: Work) -> Result:
    """The candidate against the serving version; where DPO cost more than it gave, the SFT adapter stands instead."""
    chosen = await work.chosen()
    async with work.database.team(work.team.id) as connection:
        before = await memories.of_states(connection, ["learnt"])
        known = await memories.of_states(connection, ["noted", "studied"])
        kept_back = [memory for memory in known if memory.withheld][:_PROBES]
        # What went while it was being studied tonight is for the next night to unlearn.
        studied = work.found("sft")["chosen"]
        forgotten = await memories.gone(connection, work.adapter.id, studied, _PROBES)
        liked = await preferences.liked(connection, chosen, (await audiences.whole_team(connection)).id)
        have = await lessons.of_memories(connection, [*chosen, *kept_back, *forgotten])
    wanted = {memory.id for memory in chosen}
    known_before = frozenset(m.id for m in before if m.id in wanted and m.superseded_by is None)
    paper = exam.Paper(chosen, have, known_before, kept_back, forgotten, liked.keys())
    calibrated = await calibration.of_match(work.embedder, paper, work.learning)
    names = ["dpo", "sft"] if work.found("dpo").get("pairs") else ["sft"]
    best: tuple[str, exam.Results] | None = None
    for name in map(work.stage, names):
        candidate = f"{work.team.key}-night-{work.night.id}-{name}"
        await work.engine.load(candidate, work.folder / name)
        try:
            results = await exam.sit(
                work.engine, candidate, paper, calibrated.thresholds, work.learning,
                lambda done, of: work.tell(work.stage("exam"), done / max(1, of), f"{done} of {of} answers"),
            )  # fmt: skip
            reads, reading = await calibration.reader(
                work.database, work.team, work.engine, candidate, work.embedder, paper, work.learning
            )
            results = replace(
                results,
                thresholds=replace(results.thresholds, reader=reads),
                refused=calibrated.refused,
                refused_answerable=calibrated.refused_answerable,
                reading=reading,
            )
        finally:
            await work.engine.unload(candidate)
        if best is None or (results.passed, len(results.known)) > (best[1].passed, len(best[1].known)):
            best = (name, results)
        if results.passed and results.recited >= 0.97:
            break
    assert best is not None
    return best[1].as_dict() | {"adapter": best[0], "known_before": sorted(paper.known_before)}


async def decide(work: Work) -> Result:
    """The candidate is stored and registered, then put to work or refused, in one transaction each."""
    results = exam.from_dict(work.found("exam"))
    version = await release.register(
        work.database, work.team, work.adapter, work.files, work.folder / work.found("exam")["adapter"],
        base_model=work.engine.base_model, night_id=work.night.id, memory_ids=work.found("sft")["chosen"],
    )  # fmt: skip
    released = await release.decide(work.database, work.team, version, work.night.id, results)
    return {"released": released, "version": version.id, "number": version.number, "reasons": results.reasons}


STEPS: tuple[tuple[str, Step], ...] = (
    ("collect", collect),
    ("select", choose),
    ("redact", redact),
    ("synthesize", synthesize),
    ("sft", sft),
    ("dpo", dpo),
    ("exam", examine),
    ("release", decide),
)


@contextlib.contextmanager
def _alone(database: Database, adapter: Adapter) -> Iterator[None]:
    """Keeps two tasks of this process apart, which the night's row takes for one owner. Raises NightUnderWay."""
    key = (database.url, adapter.id)
    if key in _UNDER_WAY:
        raise NightUnderWay("A night of this adapter is running in this process already. Wait for its end.")
    _UNDER_WAY.add(key)
    try:
        yield
    finally:
        _UNDER_WAY.discard(key)


def _worth_another_try(work: Work) -> bool:
    """True where the first candidate failed its exam, and nothing was released yet."""
    return bool(work.results["exam"]["reasons"]) and "release" not in work.results


async def _try_again(work: Work) -> None:
    """Trains and examines once more: half of what is new, another seed, and more replay where the base model's skills went."""
    failed = exam.from_dict(work.results["exam"])
    learning = work.learning
    update: dict[str, Any] = {"seed": learning.seed + 1}
    if (failed.skills is not None and failed.skills < learning.release_skills) or (
        failed.perplexity is not None and not failed.perplexity <= learning.release_perplexity
    ):
        update["replay_share"] = max(learning.replay_share, min(0.5, 2 * learning.replay_share))
    work.second, work.learning = True, learning.model_copy(update=update)
    # The most important come first, as they were selected.
    order = [i for i in work.results["select"]["chosen"] if i in set(work.results["sft"]["chosen"])]
    known = set(work.results["exam"]["known_before"])
    new = [i for i in order if i not in known]
    work.results["redact"]["chosen"] = [i for i in order if i in known or i in set(new[: (len(new) + 1) // 2])]
    for name, step in STEPS:
        if name in ("sft", "dpo", "exam") and work.stage(name) not in work.results:
            work.results[work.stage(name)] = await _recorded(work, work.stage(name), step)


async def _recorded(work: Work, name: str, step: Step) -> Result:
    """Runs one step with its start, result and seconds on the night's row."""
    async with work.database.team(work.team.id) as connection:
        await nights.step_started(connection, work.night.id, name)
    work.tell(name, 0.0, "")
    result = await step(work)
    async with work.database.team(work.team.id) as connection:
        await nights.step_done(connection, work.night.id, name, result)
    work.tell(name, 1.0, "")
    log.info("night step done", team=work.team.key, night=work.night.id, step=name)
    return result


async def _nothing_new(work: Work) -> bool:
    """True where the serving version already holds exactly what tonight would study, and nobody disagreed since.

    Nothing at all to study counts too: no adapter can be made of it.
    """
    chosen = set(work.results["redact"]["chosen"])
    async with work.database.team(work.team.id) as connection:
        serving = await adapters.serving(connection, work.adapter.id)
        made = await nights.get(connection, serving.night_id) if serving and serving.night_id else None
        # A rejected or failed night has taught nothing. New is what came since the serving version's own took its pairs,
        # which was before its exam, and before it was registered.
        pairing = (made.steps.get("dpo" + AGAIN) or made.steps.get("dpo")) if made else None
        paired = pairing.started_at if pairing else None
        fresh = await feedback.standing(connection, paired or serving.created_at) if serving else []
    if serving is None or not chosen:
        return not chosen
    # On another base model yesterday's adapter cannot work, whatever it holds.
    return serving.base_model == work.engine.base_model and set(serving.memory_ids) == chosen and not fresh


async def _end(work: Work, state: Ending) -> Night:
    """Erases what may not come back, writes the report, clears the folder and ends the night."""
    unlearnt = await release.erase(work.database, work.team, work.files)
    written = await report.write(work.database, work.team, work.adapter, work.night, work.results, state, unlearnt)
    # Before the end is recorded: a kill between the two leaves a night to end again, not a folder that nobody clears.
    await asyncio.to_thread(shutil.rmtree, work.folder, ignore_errors=True)
    async with work.database.team(work.team.id) as connection:
        night = await nights.end(connection, work.night.id, state, written)
    log.info("night ended", team=work.team.key, night=night.id, state=state)
    return night


async def _beat(work: Work) -> None:
    """Shows that the night is alive: without a beat for 30 s another worker may take it up."""
    while True:
        await asyncio.sleep(_BEAT_SECONDS)
        with contextlib.suppress(DatabaseAway):
            async with work.database.team(work.team.id) as connection:
                await nights.beat(connection, work.night.id)

"""The way of a question, the same for every surface: ledger look-up, then weights, notes or "I don't know".

    asked -> seen before? -> who may know what -> nearest memory -> weights | notes | unknown -> grounded -> stored

Every answer is grounded before it is shown (DESIGN.md section 4): what is exact in it must stand in the ledger's
statement, otherwise the statement itself is quoted. A small model thus never invents a figure. What streams of one under
way is word for word the statement's beginning (bot/stream.py).
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import structlog

from bot.stream import Stream
from learner import recall
from learner.engine.embedder import Embedder
from learner.engine.engine import AdapterCorrupt, AdapterUnknown, Engine, Generation
from learner.exam.exam import Thresholds
from learner.recall import Match, agrees, closed_book, embed_statements, interact, match, open_book, shortlist
from learner.settings import LearningSettings
from learner.study import select
from storage import adapters, answers, audiences, examples, exams, memories, passages
from storage.adapter_files import AdapterFiles
from storage.adapters import Version
from storage.answers import Answer, Citation, NewAnswer, Route
from storage.database import Database
from storage.errors import DatabaseAway, NightschoolError
from storage.memories import Memory, Near
from storage.passages import Hit, Passage
from storage.teams import Team

log = structlog.get_logger(__name__)

UNKNOWN = f"{recall.UNKNOWN} Tell me the answer and I'll study it tonight."
_NEAREST = 20
_BESIDE = 0.15
"""How much less like the question than the first a passage may be and still be quoted beside it (lab notes, 2026-11-25)."""


class EmptyQuestion(NightschoolError):
    """There was no question: type what you want to know."""


class QuestionTooLong(NightschoolError):
    """The question is longer than the bot reads: ask one thing in fewer words, or give it the text as a document."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as a surface hands it over. `place_audience_id` None: asked in private."""

    text: str
    person_id: int | None
    place_audience_id: int | None
    surface: str
    event_id: str
    thread: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before it is stored."""

    text: str
    route: Route
    quoted: bool = False
    memory_id: int | None = None
    version_id: int | None = None
    sources: tuple[Citation, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    confidence: float | None = None
    audience_id: int | None = None
    """Who may know it, where that is fewer than the whole team."""


class Colleague:
    """One team's answering side: the serving adapter in the engine, the ledger and the notes behind it."""

    def __init__(
        self,
        database: Database,
        team: Team,
        engine: Engine,
        embedder: Embedder,
        files: AdapterFiles,
        learning: LearningSettings,
        cache: Path,
    ) -> None:
        self._database = database
        self._team = team
        self._engine = engine
        self._embedder = embedder
        self._files = files
        self._learning = learning
        self._cache = cache
        self._serving: Version | None = None
        self._untried = Thresholds(learning.weights_threshold, learning.notes_threshold, learning.least_confidence)
        self._thresholds = self._untried
        self._swapping = asyncio.Lock()

    @property
    def serving(self) -> Version | None:
        """The adapter version that answers now."""
        return self._serving

    @property
    def thresholds(self) -> Thresholds:
        """How sure each route must be: the serving version's exam set them, the settings before the first."""
        return self._thresholds

    async def wake(self) -> None:
        """Loads the team's serving version beside the one at work, then swaps; answers under way finish on the old one.

        Raises AdapterCorrupt, AdapterForeign, AdapterNotApplied: then the version at work stays.
        """
        async with self._swapping:
            async with self._database.team(self._team.id) as connection:
                adapter = await adapters.ensure(connection)
                version = await adapters.serving(connection, adapter.id)
                exam = await exams.of_version(connection, version.id) if version else None
            if version is not None and self._serving and self._serving.id == version.id:
                return
            if version is not None:
                folder = await self._files.fetch(version.uri, self._cache, version.sha256)
                await self._engine.load(self._name(version), folder)
            old, self._serving = self._serving, version
            # An exam knows only about memories: how near a passage must be stays the settings' word.
            self._thresholds = (
                replace(Thresholds(**exam.results["thresholds"]), notes=self._learning.notes_threshold)
                if exam
                else self._untried
            )
            if old is not None:
                await self._engine.unload(self._name(old))
            log.info("adapter at work", team=self._team.key, version=version.number if version else None)

    async def follow(self) -> None:
        """Swaps to every newly released version as it is announced, until cancelled."""
        # The gap makes it look anew after each connection: what was announced meanwhile was not heard.
        async for _ in self._database.listen(adapters.CHANNEL, gap=""):
            await self.catch_up()

    async def catch_up(self) -> None:
        """Swaps to the version that serves now, waiting for a database that is away; one that cannot be loaded is logged."""
        while True:
            try:
                await self.wake()
            except DatabaseAway as error:
                # The next word of a release may be a day away: until the database can say which one serves, ask again.
                log.warning("new version not loaded yet", team=self._team.key, error=str(error))
                await asyncio.sleep(1)
                continue
            except NightschoolError as error:
                log.error("new version not loaded, the old one stays", team=self._team.key, error=str(error))
            return

    async def answer(self, asked: Asked, on_text: Callable[[str], None] | None = None) -> Answer:
        """Answers once: the same event again gets the stored answer.

        `on_text` gets the text in pieces, each as soon as it is grounded, in the event loop. Together they are the answer's
        text, or else (the rest of what was being written turned out wrong or unsure) that text takes their place: a surface
        shows the pieces as they come, and at the end the returned text instead, where they differ.

        Raises EmptyQuestion, QuestionTooLong, DatabaseAway; then nothing was stored.
        """
        question = " ".join(asked.text.split())
        if not re.search(r"\w", question):
            raise EmptyQuestion("There was no question. Type what you want to know.")
        if len(question) > self._learning.max_question_characters:
            raise QuestionTooLong(
                f"The question has {len(question):,} characters, the most is {self._learning.max_question_characters:,}. "
                "Ask one thing in fewer words, or give me the text as a document (nightschool sync)."
            )
        async with self._database.team(self._team.id) as connection:
            if stored := await answers.by_event(connection, asked.surface, asked.event_id):
                if on_text:
                    on_text(stored.text)
                return stored
        started = time.monotonic()
        draft = await self.draft(question, asked, on_text)
        async with self._database.team(self._team.id) as connection:
            return await answers.save(
                connection,
                NewAnswer(
                    person_id=asked.person_id,
                    audience_id=asked.place_audience_id or draft.audience_id,
                    surface=asked.surface,
                    thread=asked.thread,
                    event_id=asked.event_id,
                    question=question,
                    text=draft.text,
                    route=draft.route,
                    quoted=draft.quoted,
                    version_id=draft.version_id,
                    memory_id=draft.memory_id,
                    sources=list(draft.sources),
                    prompt_tokens=draft.prompt_tokens,
                    completion_tokens=draft.completion_tokens,
                    latency_ms=round((time.monotonic() - started) * 1000),
                    confidence=draft.confidence,
                ),
            )

    async def draft(self, question: str, asked: Asked, on_text: Callable[[str], None] | None = None) -> Draft:
        """The answer without storing it: routes, generates and grounds. `on_text` as in `answer`."""
        async with self._database.team(self._team.id) as connection:
            everyone = (await audiences.whole_team(connection)).id
            allowed = await audiences.visible(connection, asked.person_id, asked.place_audience_id)
            earlier = await answers.thread(connection, asked.surface, asked.thread, 3) if asked.thread else []
        goes_on = bool(earlier) and recall.goes_on(question)
        search = _with_thread(question, earlier) if goes_on else question
        found, cue_of, hits = await self._look_up(search, allowed)
        certain = bool(found) and found[0].certainty >= self._thresholds.weights
        if earlier and not goes_on and not certain and recall.may_go_on(question):
            found, cue_of, hits = await self._look_up(_with_thread(question, earlier), allowed)
        stream = Stream(on_text)
        draft = (
            await self._from_weights(found, cue_of, stream)
            or self._from_correction(found, everyone)
            or await self._from_notes(question, hits, asked.person_id, everyone)
        )
        stream.end(draft.text)
        return draft

    async def _look_up(self, search: str, allowed: Sequence[int]) -> tuple[list[Match], dict[int, str], list[Hit]]:
        """What the ledger and the notes have near a question, best first: memories, {memory id: cue}, passages."""
        vector = (await self._embedder.embed([search]))[0]
        async with self._database.team(self._team.id) as connection:
            near = await memories.nearest(
                connection, vector, allowed, self._embedder.name, _NEAREST, ["noted", "studied", "learnt"], True
            )
            led_to = {n.memory.statement: n for n in near if n.found_by.id != n.memory.id or recall.asked(n)}
            there = await passages.saying(connection, list(led_to), allowed) if led_to else []
            hits = await passages.search(connection, vector, search, allowed, self._embedder.name, _NEAREST)
            cues = await examples.of_memories(connection, [n.memory.id for n in near])
        # What a night held back in a dispute is not told as the truth; its passage is not found either.
        found = await match(self._embedder, search, [n for n in near if n.memory.conflict is None])
        cue_of = {example.memory_id: example.question for example in cues if example.kind == "cue"}
        hits = await self._ordered(search, hits, [(led_to[passage.text], passage) for passage in there])
        return found, cue_of, hits

    async def _from_weights(self, found: Sequence[Match], cue_of: Mapping[int, str], stream: Stream) -> Draft | None:
        """Route 1: the memories meant are learnt; each one's own question brings it out of the adapter.

        One where the match is certain; in doubt up to three (learner.recall.shortlist), each on a line of its own.
        """
        version = self._serving
        meant = shortlist(found, self._thresholds.weights, self._learning.evidence)
        if version is None or not meant or meant[0].score < self._thresholds.notes:
            return None
        told = [match.memory for match in meant]
        if any(m.state != "learnt" or m.id not in version.memory_ids or m.id not in cue_of for m in told):
            return None
        asking = [
            asyncio.ensure_future(
                self._engine.generate(
                    closed_book(cue_of[memory.id]),
                    adapter=self._name(version),
                    max_tokens=self._learning.max_answer_tokens,
                    on_text=stream.reciting(memory.statement) if len(told) == 1 else None,
                )
            )
            for memory in told
        ]
        try:
            replies = await asyncio.gather(*asking)
        except (AdapterCorrupt, AdapterUnknown) as error:  # evicted and then damaged: the notes still know it
            for one in asking:
                one.cancel()
            log.error("the adapter at work cannot be used", team=self._team.key, error=str(error))
            return None
        grounded = [agrees(reply.text, memory.statement) for reply, memory in zip(replies, told, strict=True)]
        confidence = min(reply.confidence for reply in replies)
        if confidence < self._thresholds.confidence and not all(grounded):
            return None
        lines = [
            reply.text.strip() if stands else quote(memory.statement)
            for reply, memory, stands in zip(replies, told, grounded, strict=True)
        ]
        return Draft(
            text="\n".join(lines),
            route="weights",
            quoted=not all(grounded),
            memory_id=told[0].id,
            version_id=version.id,
            sources=tuple(Citation(_place(m), m.uri, m.statement) for m in told),
            prompt_tokens=sum(reply.prompt_tokens for reply in replies),
            completion_tokens=sum(reply.completion_tokens for reply in replies),
            confidence=confidence,
        )

    def _from_correction(self, found: Sequence[Match], everyone: int) -> Draft | None:
        """What a person said today overrides pages and weights, and is quoted until the night has learnt it."""
        best = found[0] if found else None
        told = best is not None and best.memory.kind in select.TOLD
        if best is None or not told or best.certainty < self._thresholds.weights:
            return None
        memory = best.memory
        return Draft(
            text=quote(memory.statement),
            route="notes",
            quoted=True,
            memory_id=memory.id,
            sources=(Citation(f"told by {memory.author}" if memory.author else "told", memory.uri, memory.statement),),
            audience_id=None if memory.audience_id == everyone else memory.audience_id,
        )

    async def _from_notes(self, question: str, hits: Sequence[Hit], person_id: int | None, everyone: int) -> Draft:
        """Routes 2 and 3: the evidence is quoted, or read by the model where the exam showed that it reads better."""
        known = bool(hits) and hits[0].similarity >= self._thresholds.notes
        evidence = [h for h in hits if known and h.similarity >= hits[0].similarity - _BESIDE]
        if evidence and evidence[0].passage.audience_id == everyone:
            # A private aside would make private what all may know, and every correction of it too.
            evidence = [h for h in evidence if h.passage.audience_id == everyone]
        evidence = evidence[: self._learning.evidence]
        if not evidence:
            return Draft(text=UNKNOWN, route="unknown")
        sources = tuple(Citation(h.passage.heading or h.passage.title, h.passage.uri, h.passage.text) for h in evidence)
        shown = Draft(
            text="\n".join(quote(h.passage.text) for h in evidence),
            route="notes",
            quoted=True,
            sources=sources,
            audience_id=await self._narrowest({h.passage.audience_id for h in evidence} - {everyone}, person_id),
        )
        version, who = self._serving, self._thresholds.reader
        if who == "quote":
            return shown
        speaker = self._name(version) if who == "adapter" and version else None
        try:
            reply = await self.read(question, [hit.passage for hit in evidence], speaker)
        except (AdapterCorrupt, AdapterUnknown) as error:
            log.error("the adapter at work cannot be used", team=self._team.key, error=str(error))
            return shown
        said = reply.text.strip()
        spent = replace(
            shown,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            confidence=reply.confidence,
        )
        if any(agrees(said, h.passage.text) for h in evidence):
            return replace(spent, text=said, quoted=False)
        if said.startswith(recall.UNKNOWN):
            return Draft(
                text=UNKNOWN,
                route="unknown",
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
            )
        return spent

    async def _ordered(self, question: str, hits: list[Hit], led_to: Sequence[tuple[Near, Passage]]) -> list[Hit]:
        """The passages by late interaction with the question; what a newer one overrides leads to that one.

        People ask in the words they know, and those may be an old sentence's, or a question's that somebody asked before:
        its likeness counts for what overrides it or answers it, be it by the ledger (`led_to`, each with what it was found
        by) or by a passage among the hits.
        """
        there = {hit.passage.id for hit in hits}
        hits = hits + [Hit(passage, _likeness(near), 0.0) for near, passage in led_to if passage.id not in there]
        if not hits:
            return []
        pairs = [(hit.passage.heading, hit.passage.text) for hit in hits]
        found_by = [(near.found_by.context, near.found_by.statement) for near, _ in led_to]
        dense = [hit.similarity for hit in hits] + [_likeness(near) for near, _ in led_to]
        scores, lent = np.split(
            await interact(self._embedder, question, pairs + found_by, np.array(dense, dtype=np.float32)), [len(hits)]
        )
        place = {hit.passage.id: n for n, hit in enumerate(hits)}
        for (_, passage), score in zip(led_to, lent, strict=True):
            scores[place[passage.id]] = max(scores[place[passage.id]], score)
        vectors = await embed_statements(self._embedder, pairs)
        newer = select.outdated([hit.passage for hit in hits], vectors)
        for outdated, heir in newer.items():
            while heir in newer:
                heir = newer[heir]
            scores[heir] = max(scores[heir], scores[outdated])
        order = [n for n in np.argsort(-scores).tolist() if n not in newer]
        return [replace(hits[n], similarity=float(scores[n])) for n in order]

    async def read(self, question: str, evidence: Sequence[Passage], speaker: str | None = None) -> Generation:
        """The answer of the base model, or of a loaded adapter `speaker`, with the evidence in its prompt."""
        prompt = open_book(question, [(p.heading, p.text) for p in evidence])
        return await self._engine.generate(prompt, adapter=speaker, max_tokens=self._learning.max_answer_tokens)

    async def _narrowest(self, narrow: set[int], person_id: int | None) -> int | None:
        """Who may know what was made of evidence for these narrower audiences; of several, only who asked. None: everyone."""
        if len(narrow) <= 1 or person_id is None:
            return min(narrow, default=None)
        async with self._database.team(self._team.id) as connection:
            return (await audiences.person(connection, person_id)).id

    def _name(self, version: Version) -> str:
        # Never reused for other weights: a version's id is its own for ever.
        return f"{self._team.key}-{version.id}"


def quote(text: str) -> str:
    """A quotation, marked as one."""
    return f"“{text}”"


def _place(memory: Memory) -> str:
    """Where a memory was read, or heard and from whom: as the notes call it."""
    said = memory.kind == "message" and memory.title and memory.author
    return f"#{memory.title} › {memory.author}" if said else memory.title or memory.context


def _likeness(near: Near) -> float:
    """How like a question what led to a passage is: with the question that somebody asked before, where it was that one."""
    return recall.similarity(near) if recall.asked(near) else near.statement_similarity or 0.0


def _with_thread(question: str, earlier: Sequence[Answer]) -> str:
    """What to look for in place of a follow-up ("and for managers?"): it, and the questions before it up to a whole one."""
    asked = [question]
    for answer in reversed(earlier):
        asked.insert(0, answer.question)
        if not recall.goes_on(answer.question) and not recall.may_go_on(answer.question):
            break
    return " ".join(asked)

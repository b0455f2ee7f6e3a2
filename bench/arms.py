"""The ways of answering that the benchmarks set side by side, each from one question to text and tokens."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bot.answer import UNKNOWN, Asked, Colleague
from bot.assembly import Assembly
from bot.quiz import Question
from learner.engine.engine import Engine, Message
from learner.recall import beyond, closed_book, match, open_book, shortlist
from storage import audiences, examples, memories, passages
from storage.memories import Memory
from storage.passages import Passage

PLAIN = "plain"
"""What the engine calls the adapter of `bench.plain`."""
_MOST_TOKENS = 96


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of one arm: tokens are prompt and reply together; `own` is False where it is a quote, `cited` what it cites."""

    text: str
    tokens: int
    refused: bool = False
    own: bool = True
    route: str = ""
    memory_id: int | None = None
    cited: tuple[str, ...] = ()

    @property
    def invented(self) -> bool:
        """True where it says something exact (a figure, a name, a negation) in its own words that nothing cited says."""
        return self.own and not self.refused and bool(beyond(self.text, " ".join(self.cited)))


class Arms:
    """Every arm over one team's ledger, notes and serving adapter (`adapter`: the engine's name for it)."""

    def __init__(self, school: Assembly, colleague: Colleague, engine: Engine) -> None:
        self._school = school
        self._colleague = colleague
        self.engine = engine
        self._sentences: tuple[list[Passage], np.ndarray] | None = None
        self._reading = asyncio.Lock()

    @property
    def name(self) -> str | None:
        """The engine's name for the serving adapter; None before the first."""
        version = self._colleague.serving
        return f"{self._school.team.key}-{version.id}" if version else None

    async def base(self, question: str) -> Said:
        """The base model, closed book."""
        return await self._said([{"role": "user", "content": question}], None)

    async def notes(self, question: str) -> Said:
        """The base model with the three nearest sentences in view."""
        return await self._read(question, await self._nearest(question), None)

    async def notes_around(self, question: str) -> Said:
        """The base model with the nearest sentence and its neighbours on the page: on some teams the better view."""
        return await self._read(question, await self._around(question), None)

    async def adapter_notes(self, question: str) -> Said:
        """The adapter with the three nearest sentences in view, as it was taught to read."""
        return await self._read(question, await self._nearest(question), self.name)

    async def adapter(self, question: str) -> Said:
        """The adapter alone, asked in the person's own words."""
        return await self._said(closed_book(question), self.name)

    async def plain(self, question: str) -> Said:
        """The adapter of `bench.plain`, asked in the person's own words."""
        return await self._said([{"role": "user", "content": question}], PLAIN)

    async def adapter_cued(self, question: str) -> Said:
        """The adapter alone, asked the trained question of the nearest memory that it knows, in doubt of up to three.

        No quote and no refusal: what the weights say, a line a memory, however far the question is from all it learnt.
        """
        meant = await self.meant(question)
        if not meant:
            return Said("", 0, refused=True)
        said = [await self._said(closed_book(cue), self.name) for _, cue in meant]
        return Said("\n".join(s.text for s in said), sum(s.tokens for s in said), memory_id=meant[0][0].id)

    async def meant(self, question: str) -> list[tuple[Memory, str]]:
        """The learnt memories that the weights route would tell for a question, best first, each with its cue."""
        embedder = await self._school.embedder()
        [vector] = await embedder.embed([question])
        async with self._school.database.team(self._school.team.id) as connection:
            everyone = [(await audiences.whole_team(connection)).id]
            near = await memories.nearest(connection, vector, everyone, embedder.name, 20, ["learnt"], True)
            cues = await examples.of_memories(connection, [n.memory.id for n in near])
        cue_of = {example.memory_id: example.question for example in cues if example.kind == "cue"}
        speakable = [n for n in near if n.memory.id in cue_of and n.memory.conflict is None]
        found = await match(embedder, question, speakable)
        told = shortlist(found, self._colleague.thresholds.weights, self._school.settings.learning.evidence)
        return [(m.memory, cue_of[m.memory.id]) for m in told]

    async def quote(self, question: str) -> Said:
        """No model: the three nearest sentences by cosine, shown as they stand."""
        return Said("\n".join(passage.text for passage in await self._nearest(question)), 0, own=False)

    async def product(self, question: str) -> Said:
        """What a person would get: routed, grounded, quoted where the model is not sure. Not stored."""
        draft = await self._colleague.draft(question, Asked(question, None, None, "bench", uuid.uuid4().hex))
        return Said(
            draft.text,
            draft.prompt_tokens + draft.completion_tokens,
            draft.text == UNKNOWN,
            not draft.quoted,
            draft.route,
            draft.memory_id,
            tuple(source.quote for source in draft.sources),
        )

    async def _said(self, prompt: Sequence[Message], adapter: str | None) -> Said:
        reply = await self.engine.generate(prompt, adapter=adapter, max_tokens=_MOST_TOKENS)
        return Said(reply.text.strip(), reply.prompt_tokens + reply.completion_tokens)

    async def _read(self, question: str, found: Sequence[Passage], adapter: str | None) -> Said:
        return await self._said(open_book(question, [(passage.heading, passage.text) for passage in found]), adapter)

    async def _nearest(self, question: str) -> list[Passage]:
        """The three nearest sentences by plain cosine."""
        embedder = await self._school.embedder()
        sentences, vectors = await self._all()
        [vector] = await embedder.embed([question])
        return [sentences[n] for n in np.argsort(-(vectors @ vector))[:3].tolist()]

    async def _around(self, question: str) -> list[Passage]:
        embedder = await self._school.embedder()
        [vector] = await embedder.embed([question])
        async with self._school.database.team(self._school.team.id) as connection:
            everyone = [(await audiences.whole_team(connection)).id]
            hits = await passages.search(connection, vector, question, everyone, embedder.name, 1)
            wide = [await passages.neighbours(connection, hit.passage.id, 3, 3) for hit in hits]
        return list({passage.id: passage for around in wide for passage in around}.values())

    async def passages(self) -> list[Passage]:
        """Every passage of the notes that the whole team may read, in reading order."""
        async with self._school.database.team(self._school.team.id) as connection:
            return await passages.all(connection, [(await audiences.whole_team(connection)).id])

    async def texts(self) -> list[str]:
        """The passages as text, each behind its heading."""
        return [f"{one.heading}: {one.text}" if one.heading else one.text for one in await self.passages()]

    async def whole_context(self) -> int:
        """Prompt tokens of all passages at once: what a bot without memory would put before each question."""
        return self.engine.count([{"role": "user", "content": "\n".join(await self.texts())}])

    async def _all(self) -> tuple[list[Passage], np.ndarray]:
        """Every sentence of the notes with its plain vector, embedded once: the honest baseline has no help from us."""
        async with self._reading:
            if self._sentences is None:
                embedder = await self._school.embedder()
                found = await self.passages()
                self._sentences = (found, await embedder.embed([passage.text for passage in found]))
            return self._sentences


async def asked(arm: Callable[[str], Awaitable[Said]], questions: Sequence[Question]) -> list[tuple[Question, Said]]:
    """The questions, sixteen at a time as a team would ask them, with what the arm says."""
    room = asyncio.Semaphore(16)

    async def one(question: Question) -> tuple[Question, Said]:
        async with room:
            return question, await arm(question.question)

    return list(await asyncio.gather(*map(one, questions)))

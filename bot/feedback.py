"""The way of feedback, the same for every surface: one event, one row, and a correction is a memory at once."""

import re
from datetime import UTC, datetime

from bot.about import meant
from bot.emoji import meanings, named
from bot.settling import NotYours
from bot.weighing import weigh
from learner.engine.embedder import Embedder
from learner.recall import embed_statements, match
from learner.study import select
from learner.study.statements import plain, spoken
from storage import answers, audiences, feedback, memories, passages, persons, sources
from storage.answers import Answer
from storage.database import Connection, Database
from storage.errors import NightschoolError, NotFound, UnknownAnswer
from storage.feedback import Feedback, Kind, NewFeedback
from storage.memories import Memory, Near, NewMemory
from storage.passages import NewPassage
from storage.rows import Embedding
from storage.teams import Team

_LEAD_IN = re.compile(
    r"^\s*(?:(?:no|nope|nah|yep|yes|wrong|not quite|sorry|well|hm+|actually|correction|careful|not any ?more|outdated|fyi|"
    r"(?:that'?s|that is|this is) (?:wrong|outdated|old|not right|no longer (?:true|right)|the old \w+))\s*[,.:;!–—-]*\s+)+",
    re.IGNORECASE,
)
# "No" alone may begin a statement ("No smoking here"): it corrects where a comma or a pronoun follows.
_CORRECTING = re.compile(
    r"^\s*(?:(?:no|nope|nah|yep|wrong|outdated|correction|sorry)(?:\s*[,.:;!–—-]|\s+(?:it|it's|its|that|they|we|he|she|the|not)\b)|"
    r"actually\b|not (?:quite|any ?more)\b|(?:that'?s|that is|this is) (?:wrong|outdated|old|not right|no longer|the old)\b)"
    r"(?!\s*(?:thanks|thank you|problem|worries|idea)\b)",
    re.IGNORECASE,
)
_FORGET_SCORE = 0.55
MOST_CHARACTERS = 2000
_DIGITS = 18  # of a memory's number: more do not fit into the database's
_RIVALS = 20


class EmptyCorrection(NightschoolError):
    """A correction without words: say what would have been right."""


class TakenBack(NightschoolError):
    """What was said was taken back before it arrived: there is nothing to learn from it."""


class NothingToForget(NightschoolError):
    """No memory is near enough to what was named: `nightschool memories --search WORDS` lists them with their numbers."""


def is_correction(text: str) -> bool:
    """True where a plain reply corrects the answer before it ("no, it's ...", "actually ...")."""
    return bool(_CORRECTING.match(text)) and len(text.split()) >= 3


def statement_of(text: str) -> str:
    """The correction as a statement: the "no," and its like taken off, first letter raised, full stop set."""
    said = plain(_LEAD_IN.sub("", f"{text} "))
    said = said[:1].upper() + said[1:]
    return said if not said or said[-1] in ".!?" else said + "."


class Feedbacks:
    """Takes what people think of answers, for one team."""

    def __init__(self, database: Database, team: Team, embedder: Embedder) -> None:
        self._database = database
        self._team = team
        self._embedder = embedder

    async def thumbs(
        self, answer_id: int, person_id: int | None, up: bool, surface: str, event_id: str, at: datetime | None = None
    ) -> None:
        """A thumb; the last one of a person on an answer counts, by the surface's time `at`. Raises UnknownAnswer."""
        await self._record(answer_id, person_id, surface, event_id, "thumbs", "up" if up else "down", "", at)

    def meaning(self, emoji: str) -> str | None:
        """`up` or `down` where the team gave an emoji (`:+1::skin-tone-2:`) a meaning."""
        return meanings(self._team).get(named(emoji))

    async def emoji(
        self,
        answer_id: int,
        person_id: int | None,
        name: str,
        surface: str,
        event_id: str,
        at: datetime | None = None,
    ) -> bool:
        """An emoji reaction; True if the team gave it a meaning. Raises UnknownAnswer."""
        mapped = self.meaning(name)
        if mapped is None:
            return False
        await self._record(answer_id, person_id, surface, event_id, "emoji", mapped, name, at)
        return True

    async def retract(self, surface: str, event_id: str, at: datetime | None = None) -> bool:
        """Takes an event back, whether or not it has arrived yet; True where it stood until now."""
        async with self._database.team(self._team.id) as connection:
            gone = await feedback.retract(connection, surface, event_id, at)
            if gone is not None and gone.kind in ("correction", "remember"):
                await self._hold_on(connection, gone)
            return gone is not None

    async def correct(
        self,
        answer_id: int,
        person_id: int | None,
        text: str,
        surface: str,
        event_id: str,
        at: datetime | None = None,
    ) -> Memory:
        """A correction: a memory from this moment, studied tonight. The same event again returns the same memory.

        `at` is the surface's time of it, by which a later word holds against an earlier one that arrives after it.
        What it contradicts gives way at once, and of the memories that the answer told the one it is about. Against another
        person's word it is weighed (bot/weighing.py): one of the two is held back.
        Raises EmptyCorrection, TakenBack, UnknownAnswer.
        """
        statement = self._checked(text)
        async with self._database.team(self._team.id) as connection:
            answer = await answers.get(connection, answer_id)
            if answer is None:
                raise UnknownAnswer(
                    f"There is no answer {answer_id}: it may belong to another team, or was never given."
                )
        return await self._learn(statement, person_id, surface, event_id, answer, at=at)

    async def remember(
        self,
        text: str,
        person_id: int | None,
        surface: str,
        event_id: str,
        audience_id: int | None = None,
        at: datetime | None = None,
    ) -> Memory:
        """Something worth knowing, said to the bot outright, for the whole team where no audience is named. `at` as in correct.

        The same event again returns the same memory; taken back it goes as a correction does.
        Raises EmptyCorrection, TakenBack.
        """
        return await self._learn(self._checked(text), person_id, surface, event_id, None, audience_id, at=at)

    async def share(self, memory_id: int, person_id: int) -> Memory:
        """What a person taught in a narrower place, told anew to the whole team, with the question that it corrects.

        Studied from tonight on; what it contradicts gives way at once. Shared already it is returned as it is.
        Raises NotFound, NotYours.
        """
        async with self._database.team(self._team.id) as connection:
            memory = await memories.get(connection, memory_id)
            everyone = await audiences.whole_team(connection)
            allowed = await audiences.visible(connection, person_id, None)
        if memory is None or memory.reason is not None or memory.audience_id not in allowed:
            raise NotFound(f"I know no memory {memory_id} (any more): teach it anew where everybody may read it.")
        if memory.kind not in select.TOLD or memory.person_id != person_id:
            raise NotYours("Only the person who taught it may share it with the whole team: ask that person.")
        if memory.audience_id == everyone.id:
            return memory
        told = NewMemory(
            statement=memory.statement,
            context=memory.context,
            kind=memory.kind,
            answer_id=memory.answer_id,
            feedback_id=memory.feedback_id,
            person_id=person_id,
            author=memory.author,
            audience_id=everyone.id,
            said_at=datetime.now(UTC),
            importance=memory.importance,
        )
        vector = (await embed_statements(self._embedder, [(memory.context, memory.statement)]))[0]
        async with self._database.team(self._team.id) as connection:
            shared = await memories.tell(connection, told)
            await self._take_in(connection, shared, vector)
            for old in await self._contradicted(connection, shared, vector):
                await memories.supersede(connection, old, shared.id)
            return await self._weighed(connection, shared, vector)

    async def forget(
        self, text_or_id: str | int, person_id: int | None, surface: str | None = None, event_id: str | None = None
    ) -> list[Memory]:
        """Forgets a memory by number, or those nearest to the words: not spoken from now on, unlearned tonight.

        Only what the person may know. The same event again forgets no other: it returns what it has forgotten.
        Raises NothingToForget.
        """
        words = str(text_or_id).strip()
        number = words.lstrip("#")
        async with self._database.team(self._team.id) as connection:
            done = await memories.forgotten_by(connection, surface, event_id) if surface and event_id else None
            if done is not None:
                found = done
            elif number.isdecimal():
                found = await self._numbered(connection, number, person_id)
            else:
                found = await self._nearest(connection, words, person_id)
            if done is None:
                for memory in found:
                    await memories.forget(connection, memory.id)
                if surface and event_id:
                    await memories.note_forgetting(connection, surface, event_id, [memory.id for memory in found])
        if not found:
            why = "I know nothing near enough to that."
            if number.isdecimal():
                why = f"I know no memory {number if len(number) <= _DIGITS else 'of so long a number'}."
            raise NothingToForget(f"{why} `nightschool memories --search WORDS` lists what I know, with its numbers.")
        return found

    async def _numbered(self, connection: Connection, number: str, person_id: int | None) -> list[Memory]:
        memory = await memories.get(connection, int(number)) if len(number) <= _DIGITS else None
        if memory is None or memory.state in ("forgotten", "retracted"):
            return []
        return [memory] if memory.audience_id in await audiences.visible(connection, person_id, None) else []

    async def _nearest(self, connection: Connection, text: str, person_id: int | None) -> list[Memory]:
        vector = (await self._embedder.embed([text]))[0]
        allowed = await audiences.visible(connection, person_id, None)
        near = await memories.nearest(
            connection, vector, allowed, self._embedder.name, 3, ["noted", "studied", "learnt"]
        )
        found = await match(self._embedder, text, near)
        return [m.memory for m in found if m.score >= max(_FORGET_SCORE, found[0].score - 0.02)]

    async def _learn(
        self,
        statement: str,
        person_id: int | None,
        surface: str,
        event_id: str,
        answer: Answer | None,
        audience_id: int | None = None,
        *,
        at: datetime | None = None,
    ) -> Memory:
        context = answer.question if answer else ""
        async with self._database.team(self._team.id) as connection:
            author = await persons.get(connection, person_id) if person_id else None
        told = spoken(statement, author.name if author else "")
        vector = (await embed_statements(self._embedder, [(context, told)]))[0]
        async with self._database.team(self._team.id) as connection:
            everyone = await audiences.whole_team(connection)
            await sources.told(connection)
            # Taught in a narrower place, or about something of a narrower audience, it stays there.
            audience = (answer.audience_id if answer else audience_id) or everyone.id
            new = NewFeedback(None, person_id, surface, event_id, "remember")
            if answer is not None:
                new = NewFeedback(answer.id, person_id, surface, event_id, "correction", "", statement)
            given = await feedback.record(connection, new)
            if given is None and not await feedback.stands(connection, surface, event_id):
                raise TakenBack("That was taken back already; send it again to teach it after all.")
            noted = NewMemory(
                statement=told,
                context=context,
                kind="correction" if answer else "pinned",
                answer_id=answer.id if answer else None,
                feedback_id=given.id if given else None,
                person_id=person_id,
                author=author.name if author else "",
                audience_id=audience,
                said_at=at or datetime.now(UTC),
                importance=10.0,
                trainable=audience == everyone.id,
            )
            if given is None:  # the same event again says nothing anew
                [memory] = await memories.save_all(connection, [noted])
            else:
                memory = await memories.tell(connection, noted)
            await self._take_in(connection, memory, vector)
            gives_way = await self._contradicted(connection, memory, vector)
            about = None
            if answer is not None and given is not None:  # the same event again would turn to the next that was told
                about = await meant(connection, self._embedder, memory, answer)
            if about is not None and not select.disputed(memory, about):
                gives_way.add(about.id)
            for old in gives_way:
                await memories.supersede(connection, old, memory.id)
            if at is not None and (newer := await self._overtaken(connection, memory, vector)) is not None:
                await memories.supersede(connection, memory.id, newer)
                return memory
            return await self._weighed(connection, memory, vector, about)

    async def _hold_on(self, connection: Connection, gone: Feedback) -> None:
        """What a word overrode stands again when it is taken back, but not against the others that still hold."""
        answer = await answers.get(connection, gone.answer_id) if gone.answer_id else None
        said = await feedback.of_answer(connection, answer.id) if answer else []
        corrected = await memories.of_feedback(connection, [one.id for one in said if one.kind == "correction"])
        others = {memory.id: memory for memory in corrected if memory.reason is None}
        for memory in await memories.of_feedback(connection, [gone.id]):
            vector = (await embed_statements(self._embedder, [(memory.context, memory.statement)]))[0]
            near = [one.memory for one in await self._rivals(connection, memory, vector)]
            others |= {one.id: one for one in near if one.kind in select.TOLD}
            others |= {memory.id: memory} if memory.reason is None else {}  # told more than once
        for id, memory in sorted(others.items()):
            vector = (await embed_statements(self._embedder, [(memory.context, memory.statement)]))[0]
            gives_way = await self._contradicted(connection, memory, vector)
            if answer is not None and memory.answer_id == answer.id:
                about = await meant(connection, self._embedder, memory, answer)
                gives_way |= {about.id} if about is not None and not select.disputed(memory, about) else set()
            for old in gives_way:
                await memories.supersede(connection, old, id)

    async def _take_in(self, connection: Connection, memory: Memory, vector: Embedding) -> None:
        """Makes a memory findable, and quotable from the notes."""
        await memories.embed(connection, memory.id, self._embedder.name, vector)
        # Headed by who said it, never by the question, which may hold what others must not read.
        heading = f"told by {memory.author}" if memory.author else "told"
        passage = NewPassage(ordinal=0, heading=heading, text=memory.statement, embedding=vector)
        await passages.replace(connection, memory_id=memory.id, embedder=self._embedder.name, rows=[passage])

    async def _contradicted(self, connection: Connection, memory: Memory, vector: Embedding) -> set[int]:
        """The memories that a new word contradicts, by the night's own rule; they give way at once."""
        near = [one.memory for one in await self._rivals(connection, memory, vector)]
        olds = [old for old in near if not select.disputed(memory, old)]
        vectors = await embed_statements(self._embedder, [(m.context, m.statement) for m in (memory, *olds)])
        return {pair.old for pair in select.overridden([memory, *olds], vectors) if pair.new == memory.id}

    async def _overtaken(self, connection: Connection, memory: Memory, vector: Embedding) -> int | None:
        """The later word, known already, that contradicts one which arrives only now."""
        near = [one.memory for one in await self._rivals(connection, memory, vector)]
        told = [one for one in near if one.kind in select.TOLD and not select.disputed(one, memory)]
        vectors = await embed_statements(self._embedder, [(m.context, m.statement) for m in (memory, *told)])
        pairs = select.overridden([memory, *told], vectors)
        return next((pair.new for pair in pairs if pair.old == memory.id), None)

    async def _weighed(
        self, connection: Connection, memory: Memory, vector: Embedding, about: Memory | None = None
    ) -> Memory:
        """The memory, after it was weighed against what others said; `about`: whose word told by an answer it corrects."""
        others = [
            one.memory for one in await self._rivals(connection, memory, vector) if select.disputed(memory, one.memory)
        ]
        vectors = await embed_statements(self._embedder, [(m.context, m.statement) for m in (memory, *others)])
        return await weigh(connection, memory, others, vectors, about)

    async def _rivals(self, connection: Connection, memory: Memory, vector: Embedding) -> list[Near]:
        """The memories near a new word of its own audience: what few know must not silence what all may know."""
        near = await memories.nearest(
            connection, vector, [memory.audience_id], self._embedder.name, _RIVALS, ["noted", "studied", "learnt"]
        )
        return [one for one in near if one.memory.id != memory.id]

    def _checked(self, text: str) -> str:
        statement = statement_of(text)
        if not re.search(r"\w", statement):
            raise EmptyCorrection("Say what would have been right, for example: no, it is 40 euros.")
        if len(statement) > MOST_CHARACTERS:
            raise EmptyCorrection(
                f"A correction has at most {MOST_CHARACTERS:,} characters; give me the rest as a document."
            )
        return statement

    async def _record(
        self,
        answer_id: int,
        person_id: int | None,
        surface: str,
        event_id: str,
        kind: Kind,
        value: str,
        text: str,
        at: datetime | None,
    ) -> None:
        new = NewFeedback(answer_id, person_id, surface, event_id, kind, value, text, at)
        async with self._database.team(self._team.id) as connection:
            await feedback.record(connection, new)

"""What people write in Slack: questions, corrections, things to remember or forget, and talk, which is kept for the notes.

A message may be delivered several times, after its own edit or deletion, and as two events (`message` and `app_mention`): all of
that ends in the same state, with one reply.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

import structlog

from bot import intent, metrics
from bot.answer import Asked, EmptyQuestion, QuestionTooLong
from bot.feedback import EmptyCorrection, NothingToForget, TakenBack
from bot.inbox import aside
from bot.slack import noted
from bot.slack.directory import Member
from bot.slack.incoming import SPOKEN
from bot.slack.outlet import Place, Reply
from bot.slack.teaching import Teaching
from bot.slack.text import mentions, plain, shortened, without_mention
from bot.slack.workspace import SURFACE, Workspace, at, event_of, thread_of
from storage import answers, feedback, memories, messages, posts
from storage.answers import Answer
from storage.channels import Channel
from storage.messages import NewMessage

log = structlog.get_logger(__name__)

_TURNED = {"channel_convert_to_private", "channel_convert_to_public"}
_USER = re.compile(r"<@([UW][A-Z0-9]+)")
_NOTHING_SAID = "Ask me anything about the team, or tell me: “remember that …”, “forget …”, “no, it is …”."


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that a person wrote, with who and where; `edited` is the time of the edit that it is told of with."""

    channel: Channel
    member: Member
    ts: str
    thread: str | None
    raw: str
    words: str
    mentioned: bool
    edited: str = ""

    @property
    def direct(self) -> bool:
        """Whether it was said to the bot alone."""
        return self.channel.kind == "direct"

    @property
    def event_id(self) -> str:
        """Its id on this surface."""
        return event_of(self.channel.key, self.ts)

    @property
    def version(self) -> str:
        """The id of what it says now: its own, or its edit's, which sorts behind."""
        return f"{self.event_id}:{self.edited}" if self.edited else self.event_id

    @property
    def conversation(self) -> str:
        """The conversation it belongs to."""
        return thread_of(self.channel.key, self.thread, self.ts, direct=self.direct)

    @property
    def place(self) -> Place:
        """Where the reply goes: into its thread; it begins one in a direct conversation too: only there can it stream."""
        return Place(self.channel.key, self.thread or self.ts, self.member.user, self.direct, self.member.team)


class Hearing:
    """Works off the messages of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._teaching = Teaching(workspace)
        self._keep = Keeping(workspace)

    async def message(self, event: dict[str, Any], attempts: int) -> None:
        """A message or a mention, as it comes in an event."""
        subtype = event.get("subtype")
        if subtype == "message_changed":
            await self._changed(event, attempts)
        elif subtype == "message_deleted":
            await self._deleted(event)
        elif subtype in _TURNED:  # Slack has no other event for it
            await self._workspace.directory.changed(str(event.get("channel")))
        elif subtype in SPOKEN and (heard := await self._heard(event)):
            await self._said(heard, attempts)
            workspace = self._workspace
            async with workspace.database.team(workspace.team_id) as connection:
                known = await messages.standing(connection, SURFACE, heard.event_id)
            if known and known.edited_at:  # its edit came first
                edited = f"{known.edited_at.timestamp():.6f}"
                await self._edited(
                    replace(heard, words=known.text, mentioned=False, edited=edited), attempts, late=True
                )

    async def _heard(self, event: dict[str, Any]) -> Heard | None:
        """A message as we may hear it; None for the bot's own, other bots', and strangers'."""
        workspace = self._workspace
        user, ts, key = event.get("user"), event.get("ts"), event.get("channel")
        if not (user and ts and key) or event.get("bot_id") or user in (workspace.bot_user, "USLACKBOT"):
            return None
        member = await workspace.directory.member(user)
        home = event.get("user_team") or event.get("source_team")
        strange = workspace.directory.is_stranger(member, home)
        if member.bot or (strange and not workspace.strangers):
            return None
        raw = str(event.get("text") or "")
        async with workspace.database.team(workspace.team_id) as connection:
            known = await messages.standing(connection, SURFACE, event_of(key, ts))
        if known and known.deleted_at:
            return None
        channel = await workspace.directory.channel(key)
        words, thread = await self._words(raw), event.get("thread_ts")
        return Heard(channel, member, ts, thread, raw, words, mentions(raw, workspace.bot_user))

    async def _said(self, heard: Heard, attempts: int) -> None:
        last = await self._last(heard)
        follow = heard.channel.follow
        followed = follow == "all" or (follow == "thread" and last is not None)
        meant = intent.read(heard.words, last, addressed=heard.direct or heard.mentioned or followed)
        prompted = heard.direct or heard.mentioned
        if meant.kind == "correction" and last is not None:
            await self._teach(heard, last)
        elif meant.kind == "remember" and prompted:
            await self._remember(heard, meant.text)
        elif meant.kind == "forget" and prompted:
            await self._forget(heard, meant.text)
        elif meant.kind == "question" and (prompted or intent.asks(heard.words)):
            await self.answer(heard, prompted=prompted, taken_up=attempts > 1)
        elif not prompted:
            await self._keep.message(heard)
        elif meant.kind == "talk":  # thanks
            await self._workspace.outlet.mark(heard.channel.key, heard.ts, "slightly_smiling_face")

    async def answer(self, heard: Heard, *, prompted: bool, taken_up: bool) -> None:
        """Answers in the message's thread, once; an edited question's answer takes the old one's place.

        Unprompted it says nothing where it knows nothing.
        """
        workspace = self._workspace
        desk = await workspace.desk()
        if heard.channel.shared and not workspace.strangers:
            if prompted:
                await self._answer_aside(heard)
            return
        async with workspace.database.team(workspace.team_id) as connection:
            there = await posts.of_event(connection, SURFACE, heard.event_id)
            stands = await answers.get(connection, there[0].answer_id) if there and there[0].answer_id else None
        if stands and (stands.event_id or "") > heard.version:
            return  # an edit of it was answered before
        reply = Reply(workspace.outlet, heard.place, heard.event_id, heard.ts, taken_up=taken_up or bool(there))
        if heard.direct:
            await workspace.outlet.status(heard.place, "is thinking…", shortened(heard.words, 60))
        asked = Asked(
            heard.words, heard.member.person.id, heard.channel.audience_id, SURFACE, heard.version, heard.conversation
        )
        try:
            with aside():
                answer = await desk.answer(asked, reply.piece if prompted else None)
        except EmptyQuestion:
            await reply.give_up()
            if prompted:
                await workspace.outlet.whisper(heard.place, _NOTHING_SAID)
            return
        except QuestionTooLong as error:
            await reply.give_up()
            if prompted:
                await workspace.outlet.whisper(heard.place, str(error))
            return
        except BaseException:
            await reply.give_up()
            raise
        if prompted or answer.route != "unknown":
            with aside():
                await reply.finish(answer)
        else:
            await reply.give_up()

    async def _answer_aside(self, heard: Heard) -> None:
        """Where people of other organisations read along, only who asked sees the answer, and may post it."""
        workspace = self._workspace
        asked = Asked(
            heard.words, heard.member.person.id, heard.channel.audience_id, SURFACE, heard.version, heard.conversation
        )
        desk = await workspace.desk()
        try:
            with aside():
                answer = await desk.answer(asked)
        except (EmptyQuestion, QuestionTooLong) as error:
            await workspace.outlet.whisper(heard.place, str(error))
            return
        await workspace.outlet.confide(heard.place, answer)

    async def _words(self, raw: str) -> str:
        """What a person wrote, in plain words, without the bot's name."""
        bot = self._workspace.bot_user
        names = await self._workspace.directory.names(set(_USER.findall(raw)) - {bot})
        return plain(without_mention(raw, bot), names).strip()

    async def _last(self, heard: Heard) -> Answer | None:
        """The bot's answer that a message follows upon: the latest before it in its thread."""
        workspace = self._workspace
        async with workspace.database.team(workspace.team_id) as connection:
            if heard.thread is None:
                if not heard.direct:
                    return None
                before = await answers.thread(connection, SURFACE, heard.conversation, 1)
                return before[-1] if before else None
            said = await posts.of_thread(connection, SURFACE, heard.channel.key, heard.thread)
            ids = [post.answer_id for post in said if post.answer_id is not None and post.key < heard.ts]
            return await answers.get(connection, ids[-1]) if ids else None

    async def _teach(self, heard: Heard, last: Answer) -> None:
        desk = await self._workspace.desk()
        person = heard.member.person.id
        try:
            memory = await desk.feedbacks.correct(
                last.id, person, heard.words, SURFACE, heard.version, at(heard.edited or heard.ts)
            )
        except TakenBack:
            return
        except EmptyCorrection as error:
            await self._workspace.outlet.whisper(heard.place, str(error))
            return
        metrics.feedback(SURFACE, "correction")
        await self._workspace.outlet.mark(heard.channel.key, heard.ts, "memo")
        await self._teaching.confirm_correction(heard.place, memory)

    async def _remember(self, heard: Heard, text: str) -> None:
        desk = await self._workspace.desk()
        try:
            memory = await desk.feedbacks.remember(
                text, heard.member.person.id, SURFACE, heard.version, heard.channel.audience_id,
                at(heard.edited or heard.ts),
            )  # fmt: skip
        except TakenBack:
            return
        except EmptyCorrection:
            await self._workspace.outlet.whisper(
                heard.place, "Remember what? For example: remember that we close at six."
            )
            return
        await self._workspace.outlet.mark(heard.channel.key, heard.ts, "memo")
        await self._teaching.confirm_remembered(heard.place, memory)

    async def _forget(self, heard: Heard, text: str) -> None:
        desk = await self._workspace.desk()
        if not text:
            await self._workspace.outlet.whisper(heard.place, "Forget what? For example: forget the door code.")
            return
        try:
            gone = await desk.feedbacks.forget(text, heard.member.person.id, SURFACE, heard.version)
        except NothingToForget:
            gone = []
        await self._workspace.outlet.whisper(heard.place, noted.forgotten([memory.statement for memory in gone]))

    async def _changed(self, event: dict[str, Any], attempts: int) -> None:
        """An edit: the kept message, the correction or the question says something else from now on."""
        workspace = self._workspace
        new, old = event.get("message") or {}, event.get("previous_message") or {}
        if new.get("subtype") == "tombstone":  # the head of a thread was deleted
            await self._deleted({**event, "deleted_ts": new.get("ts")})
            return
        edited = (new.get("edited") or {}).get("ts")
        if not edited or new.get("text") == old.get("text") or new.get("bot_id"):
            return  # Slack calls it a change when it adds a preview
        heard = await self._heard({**new, "channel": event.get("channel"), "thread_ts": new.get("thread_ts")})
        if heard is None:
            return
        async with workspace.database.team(workspace.team_id) as connection:
            known = await messages.standing(connection, SURFACE, heard.event_id)
            if known and known.edited_at and known.edited_at > at(edited):
                return  # a later edit was here before
            await messages.edit(connection, SURFACE, heard.event_id, heard.words, at(edited))
        await self._edited(replace(heard, edited=edited), attempts)

    async def _edited(self, heard: Heard, attempts: int, *, late: bool = False) -> None:
        """Works off what a message says since an edit, and undoes what its earlier words did: only the last words count.

        `late`: the message itself came after the edit, which may have named the bot, for all we know.
        """
        workspace = self._workspace
        async with workspace.database.team(workspace.team_id) as connection:
            asked = await posts.of_event(connection, SURFACE, heard.event_id)
            await answers.take_back(connection, SURFACE, heard.event_id, keeping=heard.version)
            given = await feedback.of_message(connection, SURFACE, heard.event_id)
            heeded = any(one.kind == "remember" and one.event_id == heard.version for one in given)
            heeded = heeded or await memories.forgotten_by(connection, SURFACE, heard.version) is not None
        for one in given:
            if one.event_id != heard.version:
                await (await workspace.desk()).feedbacks.retract(SURFACE, one.event_id)
        if asked:
            await self.answer(heard, prompted=True, taken_up=attempts > 1)
            return
        last = await self._last(heard)
        meant = intent.read(heard.words, last, addressed=heard.direct or heard.mentioned)
        if heeded or meant.kind in ("correction", "remember", "forget"):  # no talk
            async with workspace.database.team(workspace.team_id) as connection:
                await messages.withdraw(connection, SURFACE, heard.event_id)
        if heeded and late:
            return
        if meant.kind == "correction" and last is not None:
            await self._teach(heard, last)
        elif heard.mentioned or heard.direct:  # the bot was named only now, say
            await self._said(heard, attempts)
        elif given:
            await self._keep.message(heard)
        else:
            await self._keep.renew()

    async def _deleted(self, event: dict[str, Any]) -> None:
        """A deletion: a kept message goes with all that was made of it, what it taught is taken back."""
        workspace = self._workspace
        channel, ts = event.get("channel"), event.get("deleted_ts")
        if not (channel and ts):
            return
        event_id = event_of(channel, ts)
        async with workspace.database.team(workspace.team_id) as connection:
            await messages.delete(connection, SURFACE, event_id)
            await answers.take_back(connection, SURFACE, event_id)
            await posts.drop(connection, SURFACE, channel, ts)
            given = await feedback.of_message(connection, SURFACE, event_id)
        feedbacks = (await workspace.desk()).feedbacks
        for one in given or []:
            await feedbacks.retract(SURFACE, one.event_id)
        await feedbacks.retract(SURFACE, event_id)


class Keeping:
    """Keeps what people say for the notes, and has it indexed soon."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def message(self, heard: Heard) -> None:
        """Keeps a message with its audience and address; empty ones say nothing."""
        if not any(character.isalnum() for character in heard.words):
            return
        workspace = self._workspace
        async with workspace.database.team(workspace.team_id) as connection:
            source = await workspace.source(connection)
            if not (source.retrieval or source.training):
                return  # of no use to anybody
            saved = await messages.save(
                connection,
                NewMessage(
                    source_id=source.id,
                    surface=SURFACE,
                    event_id=heard.event_id,
                    channel=heard.channel.name,
                    thread=heard.thread,
                    person_id=heard.member.person.id,
                    author=heard.member.name,
                    text=heard.words,
                    said_at=at(heard.ts),
                    audience_id=heard.channel.audience_id,
                    uri=workspace.permalink(heard.channel.key, heard.ts, heard.thread),
                ),
            )
        if saved:
            await self.renew()

    async def renew(self) -> None:
        """Something was said or changed: the notes are to be indexed, soon, together with what else comes."""
        (await self._workspace.desk()).indexing.soon()

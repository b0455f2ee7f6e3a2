"""What the bot says in a workspace: answers that stream where Slack lets them, quiet confirmations, one message a second.

An answer is said once. Where it stands is noted (posts) as soon as its first words are there. A process may be killed, or an
answer of Slack's be lost, between the words and the note: whoever takes the event up again finds them, as each message names
its event in its metadata; a stream can only when it ends, but then it is the bot's only message that names none.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.inbox import Later
from bot.slack import blocks
from bot.slack.calls import SURFACE, Busy, NotAllowed, NotStreaming, NotThere, Pace, Unsupported, calling
from bot.slack.text import safe_markdown, settled
from storage import posts
from storage.answers import Answer
from storage.database import Database
from storage.posts import Post

log = structlog.get_logger(__name__)

PACE_SECONDS = 1.0
"""Between two messages in a channel."""
FLUSH_SECONDS = 0.6
"""Between two pieces of an answer that streams: Slack takes some 100 of them a minute."""
UPDATE_SECONDS = 1.2
"""The same where an answer is written by updating a message: about 50 a minute."""
_METADATA = "nightschool"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to say something: a channel, the thread in it (None: none), and the person it is for.

    `team` is that person's workspace, where it is known.
    """

    channel: str
    thread: str | None
    user: str
    direct: bool
    team: str = ""


class Outlet:
    """One workspace's mouth. `streams`, `newer` and `assists` become False when the server turns out to know only older ways."""

    def __init__(self, database: Database, team_id: int, workspace: str, bot_user: str, client: AsyncWebClient) -> None:
        self.database = database
        self.team_id = team_id
        self.workspace = workspace
        self.bot_user = bot_user
        self.client = client
        self.streams = True
        self.newer = True
        self.assists = True
        self._pace = Pace(PACE_SECONDS)
        self._busy_until: dict[str, float] = {}

    @property
    def form(self) -> blocks.Form:
        """Which blocks the server takes."""
        return "new" if self.newer else "old"

    async def shaped(self, say: Callable[[blocks.Form], Awaitable[T]]) -> T:
        """Says something in the form that the server takes; one that refuses the newer gets the older, from then on."""
        try:
            return await say(self.form)
        except Unsupported:
            if not self.newer:
                raise
            self.newer = False
            return await say("old")

    async def post(
        self, place: Place, text: str, made: Sequence[blocks.Block] | None = None, *, event_id: str = "", part: int = 0
    ) -> str:
        """Posts a message and returns its ts; `event_id` and `part`: of the answer to what. Raises Unsupported, NotThere,
        Revoked, NotAllowed, Later.
        """
        await self._pace.turn(place.channel)
        async with self._calling(f"post {place.channel}"):
            reply = await self.client.chat_postMessage(
                channel=place.channel,
                thread_ts=place.thread,
                text=text,
                blocks=list(made) if made else None,
                metadata=_metadata(event_id, part),
                unfurl_links=False,
                unfurl_media=False,
                link_names=False,
                parse="none",
            )
        return str(reply["ts"])

    async def begin(self, place: Place, markdown: str) -> str:
        """Begins a message that grows, in a thread, and returns its ts. Raises as post does."""
        await self._pace.turn(place.channel)
        async with self._calling("begin"):
            reply = await self.client.chat_startStream(
                channel=place.channel,
                thread_ts=place.thread or "",
                markdown_text=markdown,
                recipient_team_id=place.team or self.workspace,
                recipient_user_id=place.user,
            )
        return str(reply["ts"])

    async def grow(self, channel: str, ts: str, markdown: str) -> None:
        """Appends to a message that grows. Raises NotStreaming, and as post does."""
        async with self._calling("grow"):
            await self.client.chat_appendStream(channel=channel, ts=ts, markdown_text=markdown)

    async def end(
        self,
        channel: str,
        ts: str,
        markdown: str = "",
        made: Sequence[blocks.Block] = (),
        *,
        event_id: str = "",
    ) -> None:
        """Ends a message that grows. Raises NotStreaming, and as post does."""
        async with self._calling("end"):
            await self.client.chat_stopStream(
                channel=channel,
                ts=ts,
                markdown_text=markdown or None,
                blocks=list(made) or None,
                metadata=_metadata(event_id, 0),
            )

    async def update(self, channel: str, ts: str, text: str, made: Sequence[blocks.Block] | None = None) -> None:
        """Puts other words in the place of a message. Raises as post does."""
        async with self._calling("update"):
            await self.client.chat_update(channel=channel, ts=ts, text=text, blocks=list(made) if made else None)

    async def delete(self, channel: str, ts: str) -> None:
        """Takes a message of the bot's away; gone already is as good."""
        with contextlib.suppress(NotThere, NotAllowed):
            async with calling():
                await self.client.chat_delete(channel=channel, ts=ts)

    async def whisper(self, place: Place, text: str, made: Sequence[blocks.Block] | None = None) -> None:
        """Says something to one person only. Where that cannot be, it is left: it only ever confirms."""
        if not place.channel:  # the App Home, where nothing can be said
            return
        try:
            await self._alone(place, text, made)
        except (NotThere, Unsupported, NotAllowed) as error:
            log.info("a confirmation could not be shown", workspace=self.workspace, error=str(error))

    async def confide(self, place: Place, answer: Answer) -> None:
        """Shows an answer to one person only, who may post it. Where that cannot be, it is left."""
        said = blocks.fallback(answer.text)
        try:
            await self.shaped(lambda form: self._alone(place, said, blocks.private(answer, form=form)))
        except (NotThere, Unsupported, NotAllowed) as error:
            log.info("a private answer could not be shown", workspace=self.workspace, error=str(error))

    async def _alone(self, place: Place, text: str, made: Sequence[blocks.Block] | None) -> None:
        if place.direct:
            await self.post(place, text, made)
            return
        async with calling():
            await self.client.chat_postEphemeral(
                channel=place.channel, user=place.user, thread_ts=place.thread, text=text,
                blocks=list(made) if made else None,
            )  # fmt: skip

    async def mark(self, channel: str, ts: str, emoji: str) -> None:
        """Puts an emoji on a message; there already, or impossible, is as good."""
        with contextlib.suppress(NotThere, Unsupported, NotAllowed):
            async with calling():
                await self.client.reactions_add(channel=channel, timestamp=ts, name=emoji)

    async def status(self, place: Place, words: str, title: str = "") -> None:
        """Says in a thread of the Assistant pane what the bot is doing, and what the thread is about.

        Slack takes the status away with the next message. A server without the pane is asked once.
        """
        if not self.assists or place.thread is None:
            return
        try:
            async with calling():
                await self.client.assistant_threads_setStatus(
                    channel_id=place.channel, thread_ts=place.thread, status=words
                )
                if title:
                    await self.client.assistant_threads_setTitle(
                        channel_id=place.channel, thread_ts=place.thread, title=title
                    )
        except (Unsupported, NotAllowed):
            self.assists = False
        except (NotThere, Later) as error:  # this thread's alone; the answer must not wait for it
            log.info("a status could not be shown", workspace=self.workspace, error=str(error))

    async def orphans(self, place: Place, event_id: str, after: str, *, streams: bool = False) -> list[str]:
        """The bot's messages later than `after` that answer an event and that no note names: a killed process said them.

        `streams`: those that name no event too.
        """
        try:
            async with calling():
                if place.thread is None:
                    page = await self.client.conversations_history(
                        channel=place.channel, oldest=after, limit=100, include_all_metadata=True
                    )
                else:
                    page = await self.client.conversations_replies(
                        channel=place.channel, ts=place.thread, oldest=after, limit=100, include_all_metadata=True
                    )
        except NotAllowed as error:  # answered twice is better than not at all
            log.warning("what was said cannot be read", workspace=self.workspace, error=str(error))
            return []
        found: list[tuple[int, str]] = []
        async with self.database.team(self.team_id) as connection:
            for message in page.get("messages") or []:
                names = (message.get("metadata") or {}).get("event_payload") or {}
                ours = message.get("user") == self.bot_user and message["ts"] > after
                if not ours or names.get("event", event_id if streams else None) != event_id:
                    continue
                if await posts.get(connection, SURFACE, place.channel, message["ts"]) is None:
                    found.append((int(names.get("part", 0)), message["ts"]))
        return [ts for _, ts in sorted(found)]

    @asynccontextmanager
    async def _calling(self, what: str) -> AsyncIterator[None]:
        """As calling(), but what Slack asked to wait with is not asked of it again before."""
        wait = self._busy_until.get(what, 0.0) - time.monotonic()
        if wait > 0:
            raise Busy(wait)
        self._busy_until.pop(what, None)
        try:
            async with calling():
                yield
        except Busy as error:
            self._busy_until[what] = time.monotonic() + error.seconds
            raise


class Reply:
    """One answer on its way into a place: `piece` as its words come, `finish` when it is whole.

    `taken_up`: an earlier delivery may have begun it.
    """

    def __init__(self, outlet: Outlet, place: Place, event_id: str, asked_ts: str, *, taken_up: bool = False) -> None:
        self._outlet = outlet
        self._place = place
        self._event_id = event_id
        self._asked_ts = asked_ts
        self._taken_up = taken_up
        self._unsure = taken_up  # whether Slack has words of it that we do not know of
        self._said = ""
        self._sent = ""
        self._ts: str | None = None
        self._streaming = False
        self._told = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._calling = asyncio.Lock()

    def piece(self, text: str) -> None:
        """The next words of the answer; they are shown soon."""
        self._said += text
        self._told.set()
        if self._writing is None and not self._taken_up:
            self._writing = asyncio.create_task(self._write())

    async def finish(self, answer: Answer) -> None:
        """Says the whole answer, in place of what was shown of another. Raises NotThere, Revoked, NotAllowed, Later."""
        await self._stopped()
        outlet, place = self._outlet, self._place
        async with outlet.database.team(outlet.team_id) as connection:
            noted = await posts.of_event(connection, SURFACE, self._event_id)
        if noted and all(post.answer_id == answer.id for post in noted):
            return
        standing = [post.key for post in noted] or ([self._ts] if self._ts else [])
        if self._unsure:
            begun = place.thread is not None
            orphans = await outlet.orphans(place, self._event_id, self._asked_ts, streams=begun)
            standing += [key for key in orphans if key not in standing]
        try:
            keys = await self._say(answer, standing)
        except Unsupported:
            outlet.newer = outlet.streams = False
            keys = await self._say(answer, standing)
        left = [key for key in standing if key not in keys]
        for key in left:
            await outlet.delete(place.channel, key)
        async with outlet.database.team(outlet.team_id) as connection:
            for part, key in enumerate(keys):
                await posts.save(connection, self._post(key, answer.id, part))
            for key in left:
                await posts.drop(connection, SURFACE, place.channel, key)

    async def give_up(self) -> None:
        """No answer will come: what was shown of it is ended, so that no message goes on blinking."""
        await self._stopped()
        if self._ts and self._streaming:
            await self._ended(self._ts)

    async def _say(self, answer: Answer, standing: Sequence[str]) -> list[str]:
        """The messages that say the answer: those that stand, then new ones."""
        outlet, place = self._outlet, self._place
        footer = blocks.footer(answer, place="private" if place.direct else "channel", form=outlet.form)
        if self._streaming and self._ts:
            self._streaming = False
            whole = safe_markdown(answer.text)
            if not self._unsure and whole.startswith(self._sent) and len(whole) <= blocks.MOST:
                with contextlib.suppress(NotStreaming, NotThere):  # Slack ended it, or somebody deleted it
                    rest = whole[len(self._sent) :]
                    await outlet.end(place.channel, self._ts, rest, footer, event_id=self._event_id)
                    return [self._ts]
            await self._ended(self._ts)
        parts = blocks.parts(answer.text, form=outlet.form) or ["…"]
        keys: list[str] = []
        for number, part in enumerate(parts):
            made = blocks.body(part, form=outlet.form) + (footer if number == len(parts) - 1 else [])
            key = standing[number] if number < len(standing) else ""
            if not key or not await self._replaced(key, blocks.fallback(part), made):
                key = await outlet.post(place, blocks.fallback(part), made, event_id=self._event_id, part=number)
            keys.append(key)
        return keys

    async def _replaced(self, key: str, text: str, made: Sequence[blocks.Block]) -> bool:
        """Puts words in the place of a message that stands; False where it is gone."""
        outlet, channel = self._outlet, self._place.channel
        if self._taken_up and outlet.streams:
            await self._ended(key)
        try:
            try:
                await outlet.update(channel, key, text, made)
            except NotStreaming:  # it was left open
                await outlet.end(channel, key, event_id=self._event_id)
                await outlet.update(channel, key, text, made)
        except NotThere:
            return False
        return True

    async def _write(self) -> None:
        """Shows the words as they come, until cancelled; a server that knows no streams gets a message that grows."""
        try:
            while True:
                await self._told.wait()
                self._told.clear()
                whole = safe_markdown(settled(self._said))
                piece = whole[len(self._sent) :]
                if not piece or not whole.startswith(self._sent) or len(whole) > blocks.MOST:
                    continue
                try:
                    async with self._calling:
                        await self._show(piece)
                        self._sent = whole
                except Busy as error:  # the words come with the next
                    self._told.set()
                    await asyncio.sleep(error.seconds)
                else:
                    await asyncio.sleep(FLUSH_SECONDS if self._streaming else UPDATE_SECONDS)
        except Exception as error:  # finish() says the whole answer and meets what is wrong itself
            self._unsure = True
            log.info("an answer could not be streamed", workspace=self._outlet.workspace, error=type(error).__name__)

    async def _show(self, piece: str) -> None:
        outlet, place = self._outlet, self._place
        if self._ts is not None and self._streaming:
            await outlet.grow(place.channel, self._ts, piece)
            return
        if self._ts is not None:
            await outlet.update(place.channel, self._ts, blocks.fallback(self._said))
            return
        if outlet.streams and place.thread is not None:
            try:
                self._ts = await outlet.begin(place, piece)
                self._streaming = True
            except (Unsupported, NotAllowed) as error:
                log.info("no streams there", workspace=outlet.workspace, error=str(error))
                outlet.streams = False
        if self._ts is None:
            self._ts = await outlet.post(place, blocks.fallback(self._said), event_id=self._event_id)
        async with outlet.database.team(outlet.team_id) as connection:
            await posts.save(connection, self._post(self._ts, None, 0))

    async def _stopped(self) -> None:
        """Stops showing pieces, but not in the middle of a call, unless cancelled itself: whether Slack had it must be known."""
        writing, self._writing = self._writing, None
        if writing is not None:
            try:
                async with self._calling:
                    pass
            finally:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _ended(self, ts: str) -> None:
        """Ends a stream as it stands; a message that is none, or is gone, is as good."""
        with contextlib.suppress(Exception):
            await self._outlet.end(self._place.channel, ts, event_id=self._event_id)

    def _post(self, key: str, answer_id: int | None, part: int) -> Post:
        place = self._place
        return Post(SURFACE, place.channel, key, place.thread, self._event_id, answer_id, part)


def _metadata(event_id: str, part: int) -> dict[str, Any]:
    """What names the event that a message answers; '' of one that answers none."""
    return {"event_type": _METADATA, "event_payload": {"event": event_id, "part": part}}

"""What the bot says in a workspace: answers that stream where Slack lets them, quiet confirmations, one message a second.

An answer is said once. Where it stands is noted (posts) as soon as its first words are there; a delivery that is taken up again
after a kill finds them there, or, killed between Slack and the note, as the bot's own message in the thread that no note names.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack import blocks
from bot.slack.calls import SURFACE, NotAllowed, NotStreaming, NotThere, Pace, Unsupported, calling
from bot.slack.markdown import split
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


@dataclass(frozen=True, slots=True)
class Place:
    """Where to say something: a channel, the thread in it (None: none), and the person it is for."""

    channel: str
    thread: str | None
    user: str
    direct: bool


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

    @property
    def form(self) -> blocks.Form:
        """Which blocks the server takes."""
        return "new" if self.newer else "old"

    async def post(self, place: Place, text: str, made: Sequence[blocks.Block] | None = None) -> str:
        """Posts a message and returns its ts. Raises Unsupported, NotThere, Revoked, NotAllowed, Later."""
        await self._pace.turn(place.channel)
        async with calling():
            reply = await self.client.chat_postMessage(
                channel=place.channel,
                thread_ts=place.thread,
                text=text,
                blocks=list(made) if made else None,
                unfurl_links=False,
                unfurl_media=False,
                link_names=False,
                parse="none",
            )
        return str(reply["ts"])

    async def update(self, channel: str, ts: str, text: str, made: Sequence[blocks.Block] | None = None) -> None:
        """Puts other words in the place of a message. Raises as post does."""
        async with calling():
            await self.client.chat_update(channel=channel, ts=ts, text=text, blocks=list(made) if made else None)

    async def whisper(self, place: Place, text: str, made: Sequence[blocks.Block] | None = None) -> None:
        """Says something to one person only. Where that cannot be, it is left: it only ever confirms."""
        try:
            if place.direct:
                await self.post(place, text, made)
                return
            async with calling():
                await self.client.chat_postEphemeral(
                    channel=place.channel, user=place.user, thread_ts=place.thread, text=text,
                    blocks=list(made) if made else None,
                )  # fmt: skip
        except (NotThere, Unsupported) as error:
            log.info("a confirmation could not be shown", workspace=self.workspace, error=str(error))

    async def mark(self, channel: str, ts: str, emoji: str) -> None:
        """Puts an emoji on a message; there already, or impossible, is as good."""
        with contextlib.suppress(NotThere, Unsupported):
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
        except (Unsupported, NotThere, NotAllowed):
            self.assists = False

    async def orphans(self, place: Place, after: str) -> list[str]:
        """The bot's own messages in a thread, later than `after`, that no note names: said by a process that was killed."""
        if place.thread is None:
            return []
        async with calling():
            page = await self.client.conversations_replies(
                channel=place.channel, ts=place.thread, oldest=after, limit=100
            )
        async with self.database.team(self.team_id) as connection:
            noted = {post.key for post in await posts.of_thread(connection, SURFACE, place.channel, place.thread)}
        return [
            message["ts"]
            for message in page.get("messages") or []
            if message.get("user") == self.bot_user and message["ts"] > after and message["ts"] not in noted
        ]


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
        if not standing and self._taken_up:
            standing = await outlet.orphans(place, self._asked_ts)
        try:
            keys = await self._say(answer, standing)
        except Unsupported:
            outlet.newer = outlet.streams = False
            keys = await self._say(answer, [self._ts] if self._ts else standing)
        async with outlet.database.team(outlet.team_id) as connection:
            for part, key in enumerate(keys):
                await posts.save(connection, self._post(key, answer.id, part))

    async def give_up(self) -> None:
        """No answer will come: what was shown of it is ended, so that no message goes on blinking."""
        await self._stopped()
        if self._ts and self._streaming:
            with contextlib.suppress(Exception):
                await self._end_stream(None, None)

    async def _say(self, answer: Answer, standing: Sequence[str]) -> list[str]:
        outlet, place = self._outlet, self._place
        footer = blocks.footer(answer, place="private" if place.direct else "channel", form=outlet.form)
        if self._streaming and self._ts:
            whole = safe_markdown(answer.text)
            fits = whole.startswith(self._sent) and len(whole) <= blocks.MOST
            try:
                await self._end_stream(whole[len(self._sent) :] if fits else None, footer if fits else None)
                if fits:
                    return [self._ts]
            except NotStreaming:  # Slack ended it: what it says is updated
                pass
        parts = split(answer.text, blocks.MOST) or ["…"]
        keys: list[str] = []
        for number, part in enumerate(parts):
            made = blocks.body(part, form=outlet.form) + (footer if number == len(parts) - 1 else [])
            if number < len(standing):
                await self._ended(standing[number])
                await outlet.update(place.channel, standing[number], blocks.fallback(part), made)
                keys.append(standing[number])
            else:
                keys.append(await outlet.post(place, blocks.fallback(part), made))
        return keys

    async def _write(self) -> None:
        """Shows the words as they come, until cancelled; a server that knows no streams gets a message that grows."""
        try:
            while True:
                await self._told.wait()
                self._told.clear()
                whole = safe_markdown(settled(self._said))
                if whole.startswith(self._sent) and len(whole) <= blocks.MOST and (piece := whole[len(self._sent) :]):
                    async with self._calling:
                        await self._show(piece, whole)
                        self._sent = whole
                    await asyncio.sleep(FLUSH_SECONDS if self._streaming else UPDATE_SECONDS)
        except Exception as error:  # finish() says the whole answer and meets what is wrong itself
            log.info("an answer could not be streamed", workspace=self._outlet.workspace, error=type(error).__name__)

    async def _show(self, piece: str, whole: str) -> None:
        outlet, place = self._outlet, self._place
        if self._ts is None and outlet.streams and place.thread is not None:
            try:
                async with calling():
                    reply = await outlet.client.chat_startStream(
                        channel=place.channel, thread_ts=place.thread, markdown_text=piece,
                        recipient_team_id=outlet.workspace, recipient_user_id=place.user,
                    )  # fmt: skip
                self._ts, self._streaming = str(reply["ts"]), True
            except Unsupported:
                outlet.streams = False
        elif self._ts is not None and self._streaming:
            async with calling():
                await outlet.client.chat_appendStream(channel=place.channel, ts=self._ts, markdown_text=piece)
            return
        if self._ts is None:
            self._ts = await outlet.post(place, blocks.fallback(self._said))
        elif not self._streaming:
            await outlet.update(place.channel, self._ts, blocks.fallback(self._said))
            return
        async with outlet.database.team(outlet.team_id) as connection:
            await posts.save(connection, self._post(self._ts, None, 0))

    async def _stopped(self) -> None:
        """Stops showing pieces, but not in the middle of a call: whether Slack had it must be known."""
        writing, self._writing = self._writing, None
        if writing is not None:
            async with self._calling:
                writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _ended(self, ts: str) -> None:
        """Ends a stream that a killed process may have left open; a message that is none is none."""
        if self._taken_up and self._outlet.streams:
            with contextlib.suppress(Exception):
                async with calling():
                    await self._outlet.client.chat_stopStream(channel=self._place.channel, ts=ts)

    async def _end_stream(self, rest: str | None, made: Sequence[blocks.Block] | None) -> None:
        assert self._ts is not None
        self._streaming = False
        async with calling():
            await self._outlet.client.chat_stopStream(
                channel=self._place.channel,
                ts=self._ts,
                markdown_text=rest or None,
                blocks=list(made) if made else None,
            )

    def _post(self, key: str, answer_id: int | None, part: int) -> Post:
        place = self._place
        return Post(SURFACE, place.channel, key, place.thread, self._event_id, answer_id, part)

"""One workspace as the handlers see it: its team's desk, its people and channels, and the bot's mouth there."""

import datetime
from dataclasses import dataclass

from slack_sdk.web.async_client import AsyncWebClient

from bot.front import Desk, Front
from bot.slack.calls import SURFACE, NotThere, calling
from bot.slack.directory import Directory
from bot.slack.outlet import Outlet
from storage import answers, audiences, sources
from storage.answers import Answer
from storage.database import Connection, Database
from storage.sources import Source

CONVERSATIONS = "slack"
"""Kind of the source of what is said in a workspace."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """What works off a workspace's events: made once a process, for as long as its tokens hold."""

    key: str
    team_id: int
    bot_user: str
    url: str
    strangers: bool
    client: AsyncWebClient
    database: Database
    front: Front
    directory: Directory
    outlet: Outlet

    async def desk(self) -> Desk:
        """The team's desk. Raises NotReady."""
        return await self.front.desk(self.team_id)

    async def source(self, connection: Connection) -> Source:
        """The source of what is said here; it trains nothing until an admin says so, after Slack's terms were named."""
        return await sources.ensure(connection, CONVERSATIONS, self.key, f"Slack {self.key}", training=False)

    async def hears(self, user: str) -> bool:
        """Whether somebody is heard: no bot, and no stranger unless those are allowed."""
        member = await self.directory.member(user)
        return not member.bot and (self.strangers or not member.stranger)

    async def readable(self, answer_id: int, user: str) -> Answer | None:
        """An answer, if there is one and this user may know what it says."""
        member = await self.directory.member(user)
        async with self.database.team(self.team_id) as connection:
            answer = await answers.get(connection, answer_id)
            allowed = await audiences.visible(connection, member.person.id, None)
        return answer if answer and (answer.audience_id is None or answer.audience_id in allowed) else None

    async def may_change(self, user: str, channel: str) -> bool:
        """Whether somebody may say what the bot does in a channel: its creator, and the workspace's and the bot's admins."""
        if not await self.hears(user):
            return False
        if (await self.directory.member(user)).admin:
            return True
        async with calling():
            about = (await self.client.conversations_info(channel=channel)).get("channel") or {}
        return bool(about.get("creator") == user)

    async def present(self, channel: str) -> bool:
        """Whether the bot is in a channel, and can say something there."""
        try:
            async with calling():
                about = (await self.client.conversations_info(channel=channel)).get("channel") or {}
        except NotThere:
            return False
        return bool(about.get("is_im") or about.get("is_member"))

    def permalink(self, channel: str, ts: str, thread: str | None = None) -> str:
        """The address of a message."""
        if not self.url:
            return ""
        within = f"?thread_ts={thread}&cid={channel}" if thread and thread != ts else ""
        return f"{self.url}archives/{channel}/p{ts.replace('.', '')}{within}"


def event_of(channel: str, ts: str) -> str:
    """A message's id on this surface: of its question, its answer, its correction, its row."""
    return f"{channel}:{ts}"


def thread_of(channel: str, thread: str | None, ts: str, *, direct: bool) -> str:
    """The conversation a message belongs to: its thread. What somebody says to the bot alone is one conversation."""
    return channel if direct else f"{channel}:{thread or ts}"


def at(ts: str) -> datetime.datetime:
    """The time that a Slack timestamp names. Raises ValueError."""
    return datetime.datetime.fromtimestamp(float(ts), datetime.UTC)


__all__ = ["CONVERSATIONS", "SURFACE", "Workspace", "at", "event_of", "thread_of"]

"""Who is who and who hears what in a workspace: Slack's users and channels as persons, channels and audiences.

Asked of Slack as seldom as may be: people once an hour, members of a private channel within five minutes and whenever somebody
comes or goes. What cannot be checked stays closed: a channel whose members are unknown lends nobody its notes elsewhere.
Who is an admin of the workspace is Slack's to say and is not written down: it ends when Slack says so.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.inbox import Later
from bot.slack.calls import SURFACE, Busy, NotAllowed, NotThere, Unsupported, calling
from storage import audiences, channels, persons
from storage.channels import Channel, Kind
from storage.database import Database
from storage.persons import Person

log = structlog.get_logger(__name__)

KNOWN_SECONDS = 3600.0
MEMBERS_FRESH = timedelta(minutes=5)
RENEW_SECONDS = 120.0
"""How often members are read anew: what is older than half of MEMBERS_FRESH then, so that nothing gets as old as that."""

_LONGEST_WAIT = 60.0
_READINGS = 3
_MOST_MEMBERS = 10_000
_MOST_NAMES = 20
NAMELESS = "someone"


@dataclass(frozen=True, slots=True)
class Member:
    """A user of the workspace: the person, and what Slack says of them; `team` is their own workspace, '' where unknown.

    `admin`: of the workspace by Slack, or of the bot by `nightschool people`.
    """

    person: Person
    user: str
    name: str
    admin: bool
    stranger: bool
    bot: bool
    team: str = ""


class Directory:
    """One workspace's people and channels."""

    def __init__(
        self, database: Database, team_id: int, workspace: str, client: AsyncWebClient, enterprise: str = ""
    ) -> None:
        self._database = database
        self._team_id = team_id
        self._workspace = workspace
        self._client = client
        self._ours = {workspace, enterprise} - {""}
        self._members: dict[str, tuple[float, Member]] = {}
        self._forgotten = 0

    async def member(self, user: str) -> Member:
        """The person behind a user id. One whom Slack does not show is a person without a name."""
        known = self._members.get(user)
        if known and known[0] > time.monotonic():
            return known[1]
        asked = self._forgotten
        about: dict[str, Any] = {}
        try:
            async with calling():
                about = (await self._client.users_info(user=user)).get("user") or {}
        except (NotThere, NotAllowed):
            log.info("a user without a profile", user=user)
        profile = about.get("profile") or {}
        name = next(
            (
                words
                for words in (
                    profile.get("display_name"),
                    profile.get("real_name"),
                    about.get("real_name"),
                    about.get("name"),
                )
                if words and words.strip()
            ),
            NAMELESS,
        )
        home = str(about.get("team_id") or profile.get("team") or "")
        organisation = str((about.get("enterprise_user") or {}).get("enterprise_id") or "")
        stranger = bool(about.get("is_stranger")) or (home != "" and not self._ours & {home, organisation})
        admin = not stranger and bool(about.get("is_admin") or about.get("is_owner"))
        async with self._database.team(self._team_id) as connection:
            person = await persons.identify(connection, SURFACE, user, name, profile.get("email"))
        member = Member(person, user, name, admin or person.role == "admin", stranger, bool(about.get("is_bot")), home)
        if asked == self._forgotten:  # else this may be what Slack said before the change
            self._members[user] = (time.monotonic() + KNOWN_SECONDS, member)
        return member

    def is_stranger(self, member: Member, team: str | None) -> bool:
        """Whether who writes is of another organisation; `team` is theirs by the event, for whom Slack shows no profile."""
        return member.stranger or (not member.team and team is not None and team not in self._ours)

    def forget(self, user: str) -> None:
        """A user's profile changed: ask anew."""
        self._members.pop(user, None)
        self._forgotten += 1

    async def names(self, users: set[str]) -> dict[str, str]:
        """The names of users, by their ids; of very many only some, as each may have to be asked for."""
        return {user: (await self.member(user)).name for user in sorted(users)[:_MOST_NAMES]}

    async def channel(self, key: str, *, anew: bool = False) -> Channel:
        """A channel as it is now. Raises NotThere where the bot cannot see it, NotAllowed; either closes it."""
        async with self._database.team(self._team_id) as connection:
            known = await channels.get(connection, SURFACE, key)
        if known and known.left_at is None and not anew and _younger(known, MEMBERS_FRESH):
            return known
        try:
            return await self._read(key)
        except NotThere:
            await self.left(key)
            raise
        except NotAllowed:
            await self._close(key)
            raise

    async def _read(self, key: str) -> Channel:
        async with calling():
            about = (await self._client.conversations_info(channel=key)).get("channel") or {}
        found = await self._saved(key, about)
        for _ in range(_READINGS):
            users = await self._users(key) if found.kind != "public" else []
            async with self._database.team(self._team_id) as connection:
                people = [(await persons.identify(connection, SURFACE, user, "")).id for user in users]
                # Who left while we read is in our list still.
                if await channels.members_known(connection, SURFACE, key, found.changes):
                    if found.kind == "private":
                        await audiences.set_members(connection, found.audience_id, people)
                    return found
                found = await channels.get(connection, SURFACE, key) or found
        log.info("members come and go too fast to be read", channel=key)
        return found

    async def _saved(self, key: str, about: dict[str, Any]) -> Channel:
        kind = _kind(about)
        name = about.get("name") or ("direct message" if about.get("is_im") else key)
        # Workspaces of one organisation share channels too: everybody in them is one of ours.
        shared = bool(about.get("is_ext_shared") or (about.get("is_shared") and not about.get("is_org_shared")))
        async with self._database.team(self._team_id) as connection:
            if about.get("is_im") and about.get("user"):
                alone = await persons.identify(connection, SURFACE, about["user"], "")
                audience = await audiences.person(connection, alone.id)
            else:
                audience = await audiences.channel(connection, SURFACE, key, name, private=kind != "public")
            return await channels.save(connection, SURFACE, key, name, kind, audience.id, shared=shared)

    async def changed(self, key: str) -> None:
        """Somebody came, or a channel was renamed or turned private: it is read anew at its next use."""
        async with self._database.team(self._team_id) as connection:
            await channels.members_stale(connection, SURFACE, key)

    async def went(self, key: str, user: str) -> None:
        """Somebody left a channel, and is told nothing of it from now on, whatever Slack can be asked."""
        async with self._database.team(self._team_id) as connection:
            person = await persons.identify(connection, SURFACE, user, "")
            known = await channels.members_stale(connection, SURFACE, key)
            if known and known.kind == "private":
                await audiences.drop_member(connection, known.audience_id, person.id)

    async def left(self, key: str) -> None:
        """The bot is no longer in a channel: nobody is known to be its member through this workspace any more."""
        await self._close(key)
        async with self._database.team(self._team_id) as connection:
            await channels.left(connection, SURFACE, key)

    async def _close(self, key: str) -> None:
        async with self._database.team(self._team_id) as connection:
            known = await channels.members_stale(connection, SURFACE, key)
            if known and known.kind == "private":
                await audiences.set_members(connection, known.audience_id, [])

    async def renew(self) -> None:
        """Reads the members of all private channels anew that were not read lately: the permission sync.

        A channel that cannot be read any more lends its notes to nobody; one that cannot be read just now is left for the
        next time. Raises Revoked, and what the database raises.
        """
        async with self._database.team(self._team_id) as connection:
            found = [one for one in await channels.all(connection) if one.surface == SURFACE and one.kind == "private"]
        due = [one for one in found if not _younger(one, MEMBERS_FRESH / 2)]
        for one in sorted(due, key=lambda one: one.members_at or datetime.min.replace(tzinfo=UTC)):
            try:
                await self.channel(one.key, anew=True)
            except (NotThere, NotAllowed) as error:
                log.warning("a channel is closed: its members cannot be read", channel=one.key, error=str(error))
            except (Later, Unsupported) as error:
                log.warning("members could not be read", channel=one.key, error=str(error))
                if isinstance(error, Busy):
                    await asyncio.sleep(min(error.seconds, _LONGEST_WAIT))

    async def _users(self, key: str) -> list[str]:
        users: list[str] = []
        cursor = ""
        while len(users) < _MOST_MEMBERS:
            async with calling():
                page = await self._client.conversations_members(channel=key, limit=200, cursor=cursor or None)
            users += page.get("members") or []
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        return users


def _younger(channel: Channel, age: timedelta) -> bool:
    return channel.members_at is not None and datetime.now(UTC) - channel.members_at < age


def _kind(about: dict[str, Any]) -> Kind:
    if about.get("is_im"):
        return "direct"
    return "private" if about.get("is_private") or about.get("is_mpim") or about.get("is_group") else "public"

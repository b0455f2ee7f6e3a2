"""Who is who and who hears what in a workspace: Slack's users and channels as persons, channels and audiences.

Asked of Slack as seldom as may be: people once an hour, members of a private channel every five minutes and whenever somebody
comes or goes. What cannot be checked stays closed: a channel whose members are unknown lends nobody its notes elsewhere.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.calls import SURFACE, NotAllowed, NotThere, calling
from storage import audiences, channels, persons
from storage.channels import Channel, Kind
from storage.database import Database
from storage.persons import Person

log = structlog.get_logger(__name__)

KNOWN_SECONDS = 3600.0
MEMBERS_FRESH = timedelta(minutes=5)
_MOST_MEMBERS = 10_000
_MOST_NAMES = 20
NAMELESS = "someone"


@dataclass(frozen=True, slots=True)
class Member:
    """A user of the workspace: the person, and what Slack says of them; `team` is their own workspace, '' where unknown."""

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

    async def member(self, user: str) -> Member:
        """The person behind a user id. One whom Slack does not show is a person without a name."""
        known = self._members.get(user)
        if known and known[0] > time.monotonic():
            return known[1]
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
            if admin and person.role != "admin":
                await persons.set_role(connection, person.id, "admin")
        member = Member(person, user, name, admin or person.role == "admin", stranger, bool(about.get("is_bot")), home)
        self._members[user] = (time.monotonic() + KNOWN_SECONDS, member)
        return member

    def is_stranger(self, member: Member, team: str | None) -> bool:
        """Whether who writes is of another organisation; `team` is theirs by the event, for whom Slack shows no profile."""
        return member.stranger or (not member.team and team is not None and team not in self._ours)

    def forget(self, user: str) -> None:
        """A user's profile changed: ask anew."""
        self._members.pop(user, None)

    async def names(self, users: set[str]) -> dict[str, str]:
        """The names of users, by their ids; of very many only some, as each may have to be asked for."""
        return {user: (await self.member(user)).name for user in sorted(users)[:_MOST_NAMES]}

    async def channel(self, key: str, *, anew: bool = False) -> Channel:
        """A channel as it is now. Raises NotThere where the bot cannot see it."""
        async with self._database.team(self._team_id) as connection:
            known = await channels.get(connection, SURFACE, key)
        if known and known.left_at is None and not anew and _fresh(known):
            return known
        async with calling():
            about = (await self._client.conversations_info(channel=key)).get("channel") or {}
        kind = _kind(about)
        users = await self._users(key) if kind != "public" else []
        async with self._database.team(self._team_id) as connection:
            people = [(await persons.identify(connection, SURFACE, user, "")).id for user in users]
            name = about.get("name") or ("direct message" if about.get("is_im") else key)
            if about.get("is_im") and about.get("user"):
                alone = await persons.identify(connection, SURFACE, about["user"], "")
                audience = await audiences.person(connection, alone.id)
            else:
                audience = await audiences.channel(connection, SURFACE, key, name, private=kind != "public")
                if kind != "public":
                    await audiences.set_members(connection, audience.id, people)
            shared = bool(about.get("is_ext_shared") or about.get("is_shared"))
            await channels.save(connection, SURFACE, key, name, kind, audience.id, shared=shared)
            await channels.members_known(connection, SURFACE, key)
            saved = await channels.get(connection, SURFACE, key)
        assert saved is not None
        return saved

    async def changed(self, key: str) -> None:
        """Somebody came or went, or a channel was renamed or turned private: it is read anew at its next use."""
        async with self._database.team(self._team_id) as connection:
            await channels.members_stale(connection, SURFACE, key)

    async def left(self, key: str) -> None:
        """The bot is no longer in a channel: nobody is known to be its member through this workspace any more."""
        async with self._database.team(self._team_id) as connection:
            if known := await channels.get(connection, SURFACE, key):
                await channels.left(connection, SURFACE, key)
                if known.kind == "private":
                    await audiences.set_members(connection, known.audience_id, [])

    async def renew(self) -> None:
        """Reads the members of all private channels anew that were not read lately: the permission sync.

        A channel that cannot be read any more lends its notes to nobody.
        """
        async with self._database.team(self._team_id) as connection:
            known = [one for one in await channels.all(connection) if one.surface == SURFACE and one.kind == "private"]
        for one in known:
            if not _fresh(one):
                try:
                    await self.channel(one.key)
                except NotThere:
                    await self.left(one.key)

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


def _fresh(channel: Channel) -> bool:
    return channel.members_at is not None and datetime.now(UTC) - channel.members_at < MEMBERS_FRESH


def _kind(about: dict[str, Any]) -> Kind:
    if about.get("is_im"):
        return "direct"
    return "private" if about.get("is_private") or about.get("is_mpim") or about.get("is_group") else "public"

"""What an emoji on an answer counts as: a thumb up, a thumb down, or nothing. A team may say otherwise of each."""

import re

from storage import teams
from storage.database import Database
from storage.errors import NightschoolError
from storage.teams import Team

AS_THEY_COME = {
    "+1": "up", "thumbsup": "up", "heart": "up", "white_check_mark": "up", "tada": "up", "100": "up", "pray": "up",
    "-1": "down", "thumbsdown": "down", "x": "down", "thinking_face": "down", "confused": "down",
}  # fmt: skip
"""Those not named here say nothing."""
_NAME = re.compile(r"[^\s:]{1,100}")


class NoEmoji(NightschoolError):
    """That is no emoji's name: say it as it is typed between colons, `white_check_mark`."""


def named(emoji: str) -> str:
    """An emoji's name without colons and skin tone: `:+1::skin-tone-2:` is `+1`."""
    return emoji.strip(":").split("::")[0]


def meanings(team: Team) -> dict[str, str]:
    """`up` or `down` for each emoji that says something in a team."""
    meant = AS_THEY_COME | team.settings.get("emoji", {})
    return {name: says for name, says in meant.items() if says in ("up", "down")}


async def choose(database: Database, team: Team, emoji: str, says: str | None) -> Team:
    """Has an emoji say `up`, `down` or `nothing` in a team, None: as it comes; returns the team as it is now.

    Raises NoEmoji.
    """
    name = named(emoji.strip())
    if not _NAME.fullmatch(name):
        raise NoEmoji
    async with database.system() as connection:
        return await teams.choose(connection, team.id, "emoji", name, says)

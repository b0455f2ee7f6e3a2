"""What is said to somebody who taught the bot something: what will be learnt and when, to them alone."""

import datetime
from collections.abc import Callable
from typing import Any

from bot.settling import dispute_of
from bot.slack import blocks, noted
from bot.slack.outlet import Place
from bot.slack.text import safe_mrkdwn, shortened
from bot.slack.workspace import Workspace
from bot.wording import disputed
from storage import audiences
from storage.memories import Memory

_DISPUTE = 1500
Confirming = Callable[[str, datetime.time | None, str], str]


class Teaching:
    """Confirms what was taught in a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def confirm_correction(self, place: Place, memory: Memory) -> None:
        """A correction was taken."""
        await self._confirm(place, memory, noted.correction)

    async def confirm_remembered(self, place: Place, memory: Memory) -> None:
        """Something to remember was taken."""
        await self._confirm(place, memory, noted.remembered)

    async def remembered(self, memory: Memory) -> tuple[str, list[blocks.Block]]:
        """What confirms that something to remember was taken, and its blocks."""
        return await self._words(memory, noted.remembered)

    async def _confirm(self, place: Place, memory: Memory, said: Confirming) -> None:
        text, made = await self._words(memory, said)
        await self._workspace.outlet.whisper(place, text, made)

    async def _words(self, memory: Memory, said: Confirming) -> tuple[str, list[blocks.Block]]:
        workspace = self._workspace
        team = (await workspace.desk()).team
        async with workspace.database.team(workspace.team_id) as connection:
            everyone = await audiences.whole_team(connection)
        studied = memory.audience_id == everyone.id and memory.trainable and memory.source_trains
        text = said(memory.statement, team.night_at if studied else None, team.timezone)
        made = [blocks.section(text)]
        if dispute := await dispute_of(workspace.database, team, memory):
            against = safe_mrkdwn(shortened(disputed(dispute, memory.id), _DISPUTE))
            text = f"{text} {against}" if memory.conflict is None else against
            made = [blocks.section(text), *blocks.conflict(dispute)]
        if memory.audience_id != everyone.id:
            made.append(blocks.actions([_share(memory)]))
        return text, made


def _share(memory: Memory) -> dict[str, Any]:
    """The button, which first shows all that would be shared: the statement, and the question it was told upon."""
    asked = f"Asked: {shortened(memory.context, 120)} " if memory.context else ""
    confirm = {
        "title": blocks.words("Share with the team?"),
        "text": blocks.words(f"{asked}“{shortened(memory.statement, 150)}”"),
        "confirm": blocks.words("Share"),
        "deny": blocks.words("Keep it private"),
    }
    return blocks.button("Share with the team", blocks.SHARE, memory.id) | {"confirm": confirm}

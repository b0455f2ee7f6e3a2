"""What is said to somebody who taught the bot something: what will be learnt and when, to them alone."""

import datetime
from collections.abc import Callable

from bot.slack import blocks, noted
from bot.slack.outlet import Place
from bot.slack.workspace import Workspace
from storage import audiences
from storage.memories import Memory

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

    async def _confirm(self, place: Place, memory: Memory, said: Confirming) -> None:
        workspace = self._workspace
        team = (await workspace.desk()).team
        async with workspace.database.team(workspace.team_id) as connection:
            everyone = await audiences.whole_team(connection)
        studied = memory.audience_id == everyone.id and memory.trainable and memory.source_trains
        text = said(memory.statement, team.night_at if studied else None, team.timezone)
        made = [blocks.section(text)]
        if memory.audience_id != everyone.id:
            made.append(blocks.actions([blocks.button("Share with the team", blocks.SHARE, memory.id)]))
        await workspace.outlet.whisper(place, text, made)

"""The morning report in the channel that a team chose for it: posted once, with the disputes to settle."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from bot.morning import honoured, unsettled
from bot.slack.calls import Unsupported
from bot.slack.morning import report, summary
from bot.slack.outlet import Place
from bot.slack.workspace import SURFACE, Workspace
from storage import nights, posts
from storage.posts import Post

log = structlog.get_logger(__name__)


class Mornings:
    """Posts the reports of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def post(self, payload: Mapping[str, Any], told_at: datetime, *, again: bool) -> None:
        """Posts the report of a night, of which we were told then, into the channel, unless it stands there already.

        Not where another organisation reads along: it tells what the whole team may know.
        """
        workspace = self._workspace
        number, channel = int(payload["night"]), str(payload["channel"])
        event_id = f"night-{number}"
        async with workspace.database.team(workspace.team_id) as connection:
            night = await nights.get(connection, number)
            if night is None or await posts.of_event(connection, SURFACE, event_id):
                return
        if not workspace.strangers and (await workspace.directory.channel(channel)).shared:
            log.warning(
                "the morning report is not posted: its channel is shared with another organisation; choose another with "
                "/nightschool settings",
                workspace=workspace.key, channel=channel, night=number,
            )  # fmt: skip
            return
        team = (await workspace.desk()).team
        shown = await honoured(workspace.database, team, night)
        disputes = await unsettled(workspace.database, team)
        place = Place(channel, None, "", False)
        stands = await workspace.outlet.orphans(place, event_id, f"{told_at.timestamp():.6f}") if again else []
        try:
            key = (
                stands[0]
                if stands
                else await workspace.outlet.post(place, summary(shown), report(shown, disputes), event_id=event_id)
            )
        except Unsupported:
            key = await workspace.outlet.post(place, summary(shown), event_id=event_id)
        async with workspace.database.team(workspace.team_id) as connection:
            await posts.save(connection, Post(SURFACE, channel, key, None, event_id))

"""The App Home of each person, made anew whenever they open it or change something in it."""

import structlog

from bot.glance import overview
from bot.slack.calls import NotAllowed, NotThere, Unsupported, calling
from bot.slack.home import home
from bot.slack.workspace import Workspace

log = structlog.get_logger(__name__)


class Homes:
    """Shows the App Home in a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def show(self, user: str, note: str = "") -> None:
        """Publishes a person's Home tab, with a note at its top where there is something to say."""
        workspace = self._workspace
        member = await workspace.directory.member(user)
        team = (await workspace.desk()).team
        seen = await overview(workspace.database, team, member.person.id, admin=member.admin)
        try:
            async with calling():
                await workspace.client.views_publish(user_id=user, view=home(seen, note))
        except (Unsupported, NotThere, NotAllowed) as error:
            log.info("no App Home", workspace=workspace.key, error=str(error))

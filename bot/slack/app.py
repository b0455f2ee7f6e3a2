"""The Slack app, on slack-bolt: what comes in is kept and acknowledged; what is kept is worked off by Bolt's listeners.

    Slack -> Bolt (signature, workspace) -> intake: inbox, 200      dialogs open at once, their triggers live 3 seconds
    inbox -> handle -> Bolt again -> listener                       raises: the inbox tries again

Bolt's own way, to acknowledge and go on in memory, would lose what a killed process had acknowledged.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import structlog
from slack_bolt.async_app import AsyncApp, AsyncAssistant, AsyncBoltRequest
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.assistant.thread_context import AssistantThreadContext
from slack_bolt.context.assistant.thread_context_store.async_store import AsyncAssistantThreadContextStore
from slack_bolt.response import BoltResponse

from bot import metrics
from bot.front import Front, NotReady
from bot.inbox import Inbox, Later
from bot.probes import AWAY
from bot.slack import blocks
from bot.slack.assistant import Assistant
from bot.slack.calls import SURFACE, NotThere, Revoked, client
from bot.slack.commands import COMMAND, Commands
from bot.slack.dialogs import Dialogs
from bot.slack.directory import RENEW_SECONDS, Directory
from bot.slack.hearing import Hearing
from bot.slack.homes import Homes
from bot.slack.incoming import event_id, kind, lane, number, workspace_of
from bot.slack.installations import Installed, Workspaces
from bot.slack.mornings import Mornings
from bot.slack.opinions import Opinions
from bot.slack.outlet import Outlet, Place
from bot.slack.presses import Presses, place_of
from bot.slack.settings import SlackSettings
from bot.slack.workspace import Workspace
from storage.database import Database
from storage.errors import DatabaseAway, NightschoolError
from storage.events import Event, NewEvent

log = structlog.get_logger(__name__)

KEPT = "nightschool_kept"
"""In the context of a request that comes from the inbox, not from Slack: the attempt."""

DIALOG_SECONDS = 2.0
"""For how long a dialog may keep Slack waiting for the acknowledgement, for which it gives three."""

_ANY = re.compile(".*")


class SlackApp:
    """The app in all its workspaces, within one process."""

    def __init__(
        self,
        front: Front,
        database: Database,
        inbox: Inbox,
        workspaces: Workspaces,
        settings: SlackSettings,
    ) -> None:
        self._front = front
        self._database = database
        self._inbox = inbox
        self._workspaces = workspaces
        self._settings = settings
        self._open: dict[str, tuple[Installed, Workspace]] = {}
        secret = settings.signing_secret.get_secret_value() if settings.signing_secret else "socket"

        async def authorize(team_id: str | None, enterprise_id: str | None) -> AuthorizeResult | None:
            installed = await workspaces.get(team_id or "", enterprise_id)
            if installed is None:
                return None
            return AuthorizeResult(
                enterprise_id=enterprise_id,
                team_id=installed.workspace,
                bot_token=installed.bot_token,
                bot_user_id=installed.bot_user,
                bot_id=installed.bot,
            )

        quiet = logging.getLogger("nightschool.slack")
        quiet.setLevel(logging.ERROR)  # below that Bolt shows bodies
        self.bolt = AsyncApp(
            name="nightschool",
            logger=quiet,
            signing_secret=secret,
            authorize=authorize,  # type: ignore[arg-type]  # None, that it is not installed there, is not in Bolt's types
            client=client(None, settings.api_url),
            process_before_response=True,
        )
        self.bolt.error(_failed)
        self.bolt.middleware(self._intake)
        self.bolt.assistant(self._assistant())
        self._listen()

    async def handle(self, event: Event, attempts: int) -> None:
        """Works off one event of the inbox. Raises what its listener raises."""
        request = AsyncBoltRequest(body=event.payload, mode="socket_mode", context={KEPT: attempts})
        try:
            if event.kind == "report":
                await self._report(event, attempts)
                return
            await self.bolt.async_dispatch(request)
            if error := request.context.get("failed"):
                raise error
        except NotReady as error:
            raise Later(1.0, str(error), patient=True) from error
        except Revoked as error:
            known: Workspace | None = request.context.get("workspace")
            await self._refused(known.key if known else workspace_of(event.payload), error, attempts)

    async def _refused(self, workspace: str, error: Revoked, attempts: int) -> NoReturn:
        log.error("Slack refuses the bot's token", workspace=workspace)
        self._open.pop(workspace, None)
        self._workspaces.forget(workspace)
        if attempts == 1:  # another process may have renewed it
            raise Later(1.0, str(error)) from error
        await self._workspaces.uninstalled(workspace)
        raise error

    async def renew(self) -> None:
        """The permission sync, until cancelled: who is a member of what, so often that nothing is older than five minutes."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            await self.renew_now()

    async def renew_now(self) -> None:
        """One permission sync of all workspaces; one that cannot be asked keeps no other waiting."""
        try:
            everywhere = await self._workspaces.all()
        except (NightschoolError, *AWAY) as error:
            log.warning("members could not be read", error=type(error).__name__)
            return
        for installed in everywhere:
            try:
                await (await self._workspace(installed)).directory.renew()
            except (NightschoolError, *AWAY) as error:
                log.warning("members could not be read", workspace=installed.workspace, error=type(error).__name__)

    async def _workspace(self, installed: Installed) -> Workspace:
        known = self._open.get(installed.workspace)
        if known and known[0] == installed:
            return known[1]
        web = client(installed.bot_token, self._settings.api_url)
        directory = Directory(self._database, installed.team_id, installed.workspace, web, installed.enterprise)
        outlet = Outlet(self._database, installed.team_id, installed.workspace, installed.bot_user, web)
        workspace = Workspace(
            installed.workspace, installed.team_id, installed.bot_user, installed.url, self._settings.strangers, web,
            self._database, self._front, directory, outlet,
        )  # fmt: skip
        self._open[installed.workspace] = installed, workspace
        return workspace

    async def _intake(
        self, req: AsyncBoltRequest, context: Any, body: dict[str, Any], next: Callable[[], Awaitable[Any]]
    ) -> BoltResponse | None:
        """Keeps what comes from Slack, and lets by what comes from the inbox."""
        installed = await self._workspaces.get(context.team_id or "", context.enterprise_id)
        if installed is None:
            return BoltResponse(status=200, body="")
        workspace = await self._workspace(installed)
        if KEPT in context:
            context["workspace"] = workspace
            context["attempts"] = context[KEPT]
            event = body.get("event") or {}
            if event.get("type") == "message":  # before Bolt's assistant, which would swallow edits and deletions
                await Hearing(workspace).message(event, context["attempts"])
                return BoltResponse(status=200, body="")
            await next()
            return None
        dialogs = Dialogs(workspace)
        if body.get("type") == "view_submission" and (refused := dialogs.refused(body.get("view") or {})):
            return BoltResponse(status=200, body=refused)
        if not await self._at_once(workspace, dialogs, body):
            new = NewEvent(SURFACE, event_id(body), lane(body), kind(body), dict(body))
            await self._inbox.put(installed.team_id, new)
        return BoltResponse(status=200, body="")

    async def _at_once(self, workspace: Workspace, dialogs: Dialogs, body: Mapping[str, Any]) -> bool:
        """Opens the dialog that is asked for; True where nothing else is to be done about the request.

        One that could not open goes into the inbox: whoever works it off there says what was wrong.
        """
        only_dialog = body.get("type") in ("view_closed", "block_suggestion")
        try:
            async with asyncio.timeout(DIALOG_SECONDS):
                return await self._dialog(workspace, dialogs, body) or only_dialog
        except DatabaseAway:
            raise
        except (NightschoolError, TimeoutError) as error:
            log.warning("a dialog could not be opened", error=str(error) or type(error).__name__)
            return only_dialog

    async def _dialog(self, workspace: Workspace, dialogs: Dialogs, body: Mapping[str, Any]) -> bool:
        trigger, type, place = str(body.get("trigger_id") or ""), body.get("type"), place_of(body)
        if body.get("command") == COMMAND and str(body.get("text", "")).strip().lower() == "settings":
            typed_in = Place(str(body.get("channel_id")), None, str(body.get("user_id")), False)
            if await workspace.hears(typed_in.user):
                await dialogs.settings(trigger, typed_in)
            return True
        if place is None:
            return False
        if not await workspace.hears(place.user):
            return True
        if type == "message_action":
            await dialogs.shortcut(str(body.get("callback_id")), body)
            return True
        if type != "block_actions" or not trigger:
            return False
        action = (body.get("actions") or [{}])[0]
        name, value = action.get("action_id"), str(action.get("value") or "")
        ts = str((body.get("message") or {}).get("ts") or (body.get("container") or {}).get("message_ts") or "")
        if name == blocks.WHY and (id := number(value)) is not None:
            await dialogs.why(trigger, place, id)
            return True
        if name == blocks.CORRECT and (id := number(value)) is not None:
            await dialogs.correct(trigger, place, id, ts)
            return True
        down = name in (blocks.THUMBS, blocks.DOWN) and value.startswith("down ")
        if down and (id := number(value.removeprefix("down "))) is not None:
            await dialogs.correct(trigger, place, id, ts)  # and the thumb is kept
        return False

    def _listen(self) -> None:
        """What comes from the inbox, each to who works it off."""
        bolt = self.bolt

        @bolt.event("app_mention")
        async def mentioned(context: Any, event: dict[str, Any]) -> None:
            workspace: Workspace = context["workspace"]
            await Hearing(workspace).message(event, context["attempts"])

        @bolt.event("reaction_added")
        @bolt.event("reaction_removed")
        async def reacted(context: Any, event: dict[str, Any]) -> None:
            await Opinions(context["workspace"]).emoji(event, context["attempts"])

        @bolt.event("app_home_opened")
        async def home(context: Any, event: dict[str, Any]) -> None:
            if event.get("tab", "home") == "home":
                await Homes(context["workspace"]).show(event["user"])
            elif event.get("channel"):
                await Assistant(context["workspace"]).suggest(event["channel"])

        @bolt.event(re.compile("^(member_joined_channel|member_left_channel)$"))
        async def moved(context: Any, event: dict[str, Any]) -> None:
            workspace: Workspace = context["workspace"]
            channel, user = event["channel"], str(event.get("user") or "")
            if event["type"] == "member_joined_channel" or not user:
                await workspace.directory.changed(channel)
            elif user == workspace.bot_user:
                await workspace.directory.left(channel)
                return
            else:
                await workspace.directory.went(channel, user)
            with contextlib.suppress(NotThere):
                await workspace.directory.channel(channel)

        @bolt.event(re.compile("^(channel|group)_(left|deleted)$"))
        async def gone(context: Any, event: dict[str, Any]) -> None:
            await context["workspace"].directory.left(event["channel"])

        @bolt.event(re.compile("^(channel_rename|group_rename|channel_shared|channel_unshared)$"))
        async def renamed(context: Any, event: dict[str, Any]) -> None:
            channel = event.get("channel")
            await context["workspace"].directory.changed(channel["id"] if isinstance(channel, dict) else str(channel))

        @bolt.event("user_change")
        async def changed(context: Any, event: dict[str, Any]) -> None:
            user = event.get("user") or {}
            context["workspace"].directory.forget(user["id"] if isinstance(user, dict) else str(user))

        @bolt.event("app_uninstalled")
        async def uninstalled(context: Any) -> None:
            await self._uninstalled(context["workspace"].key)

        @bolt.event("tokens_revoked")
        async def revoked(context: Any, event: dict[str, Any]) -> None:
            if (event.get("tokens") or {}).get("bot"):
                await self._uninstalled(context["workspace"].key)

        @bolt.event(_ANY)
        async def other() -> None:
            """Subscribed to, perhaps, but nothing to do: an event without a listener would be delivered again and again."""

        @bolt.action(_ANY)
        async def pressed(ack: Any, context: Any, body: dict[str, Any]) -> None:
            await ack()
            await Presses(context["workspace"], again=context["attempts"] > 1).pressed(body)

        @bolt.shortcut(_ANY)
        async def missed(ack: Any, context: Any, body: dict[str, Any]) -> None:
            await ack()
            await Dialogs(context["workspace"]).missed(body)

        @bolt.view(_ANY)
        async def submitted(ack: Any, context: Any, body: dict[str, Any]) -> None:
            await ack()
            await Dialogs(context["workspace"]).submitted(body["view"], body["user"]["id"])

        @bolt.command(_ANY)
        async def commanded(ack: Any, context: Any, body: dict[str, Any]) -> None:
            await ack()
            await Commands(context["workspace"]).run(body)

    def _assistant(self) -> AsyncAssistant:
        pane = AsyncAssistant(thread_context_store=_Nowhere())

        @pane.thread_started
        async def started(context: Any, payload: dict[str, Any]) -> None:
            await Assistant(context["workspace"]).greet(payload)

        return pane

    async def _uninstalled(self, workspace: str) -> None:
        erased = await self._workspaces.uninstalled(workspace)
        self._open.pop(workspace, None)
        if erased:
            log.warning("uninstalled: its tokens are erased", workspace=workspace)
        else:
            log.warning("uninstalled: so Slack says, but no token is erased", workspace=workspace)

    async def _report(self, event: Event, attempts: int) -> None:
        for installed in await self._workspaces.of_team(event.team_id):
            mornings = Mornings(await self._workspace(installed))
            try:
                await mornings.post(event.payload, event.received_at, again=attempts > 1)
            except Revoked as error:
                await self._refused(installed.workspace, error, attempts)


class _Nowhere(AsyncAssistantThreadContextStore):
    """Bolt would keep what channel a person looked at in a message's metadata; answers do not depend on it."""

    async def save(self, *, channel_id: str, thread_ts: str, context: dict[str, str]) -> None:
        return None

    async def find(self, *, channel_id: str, thread_ts: str) -> AssistantThreadContext | None:
        return None


async def _failed(error: Exception, context: Any, request: AsyncBoltRequest) -> BoltResponse:
    context["failed"] = error  # for `handle`, which raises it
    passing = isinstance(error, (NightschoolError, *AWAY))
    if KEPT not in context:
        metrics.failed(error)
        if passing:
            log.warning("a request could not be taken", error=type(error).__name__)
        else:
            log.error("a request failed", error=type(error).__name__, exc_info=error)
    return BoltResponse(status=503 if passing else 500, body="")

"""Slack's dialogs. They open at once, before anything is queued: the trigger that lets them open lives three seconds."""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import structlog

from bot import metrics
from bot.feedback import EmptyCorrection, TakenBack
from bot.inbox import Later
from bot.slack import blocks, views
from bot.slack.calls import NotAllowed, NotThere, Unsupported, calling
from bot.slack.incoming import number
from bot.slack.outlet import Place
from bot.slack.responses import respond
from bot.slack.teaching import Teaching
from bot.slack.text import plain
from bot.slack.workspace import SURFACE, Workspace
from bot.told import told
from storage import adapters, channels, posts
from storage.channels import Follow
from storage.errors import UnknownAnswer

log = structlog.get_logger(__name__)

NOT_HERE = "I am not in this channel: invite me, or tell me in a direct message."
_UNREADABLE = "This answer rests on what you may not see."
_SAY = "Write a few words: they are what I will know."
_SHARED = (
    "Saved, but for the morning report: this channel is shared with another organisation, and the report tells what only "
    "your team may know. Choose a channel of your own."
)
_BUSY = "Slack was too busy to show the dialog: press once more, or reply in the thread."
_NO_DIALOGS = "This Slack shows no dialogs. Reply in the thread instead: “no, it is …”, or “@me remember …”."


class Dialogs:
    """Opens the dialogs of a workspace, and works off what was written in them."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._teaching = Teaching(workspace)

    async def why(self, trigger: str, place: Place, answer_id: int) -> None:
        """Why an answer is as it is; only for those who may know what it says."""
        workspace = self._workspace
        answer = await workspace.readable(answer_id, place.user)
        if answer is None:
            await workspace.outlet.whisper(place, _UNREADABLE)
            return
        person = (await workspace.directory.member(place.user)).person
        async with workspace.database.team(workspace.team_id) as connection:
            known = await told(connection, answer, person.id)
            version = await adapters.get(connection, answer.version_id) if answer.version_id else None
        await self._open(trigger, place, views.why(answer, known, version.number if version else None))

    async def correct(self, trigger: str, place: Place, answer_id: int, ts: str) -> None:
        """To correct an answer, or to teach one that it did not know."""
        answer = await self._workspace.readable(answer_id, place.user)
        if answer is None:
            await self._workspace.outlet.whisper(place, _UNREADABLE)
            return
        made = views.teach_modal if answer.route == "unknown" else views.correction_modal
        view = made(answer.id, answer.question, answer.text, place.channel, place.thread, ts)
        await self._open(trigger, place, view)

    async def shortcut(self, callback: str, payload: Mapping[str, Any]) -> None:
        """A shortcut on a message: an answer of ours is corrected, anything else remembered."""
        workspace = self._workspace
        message, channel = payload.get("message") or {}, (payload.get("channel") or {}).get("id")
        user, trigger = (payload.get("user") or {}).get("id"), payload.get("trigger_id")
        if not (channel and user and trigger and message.get("ts")):
            return
        place = Place(channel, message.get("thread_ts"), user, channel.startswith("D"))
        async with workspace.database.team(workspace.team_id) as connection:
            post = await posts.get(connection, SURFACE, channel, message["ts"])
        if callback == "correct_this" and post is not None and post.answer_id is not None:
            await self.correct(trigger, place, post.answer_id, message["ts"])
            return
        url = str(payload.get("response_url") or "")
        if not await workspace.present(channel):
            await _tell(url, NOT_HERE)
            return
        text = plain(str(message.get("text") or ""), {})
        view = views.remember_modal(text, channel, message.get("thread_ts"), message["ts"], url)
        await self._open(trigger, place, view)

    async def missed(self, payload: Mapping[str, Any]) -> None:
        """A shortcut whose dialog could not be opened in time."""
        user = str((payload.get("user") or {}).get("id") or "")
        if user and await self._workspace.hears(user):
            await _tell(str(payload.get("response_url") or ""), _BUSY)

    async def settings(self, trigger: str, place: Place) -> None:
        """What is answered in a channel. Raises NotThere."""
        workspace = self._workspace
        if not await workspace.present(place.channel):
            raise NotThere(NOT_HERE)
        channel = await workspace.directory.channel(place.channel)
        team = (await workspace.desk()).team
        here = team.settings.get("report", {}).get(SURFACE) == place.channel
        may = await workspace.may_change(place.user, place.channel)
        admin = (await workspace.directory.member(place.user)).admin
        view = views.settings_modal(
            place.channel, channel.name, channel.follow, report_here=here, may_change=may, may_report=admin
        )
        await self._open(trigger, place, view)

    def refused(self, view: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a dialog is told at once where it was left empty; None where what was written can be taken."""
        written = view.get("callback_id") in (blocks.CORRECTION, blocks.REMEMBER)
        if written and not any(character.isalnum() for character in _written(view)):
            return {"response_action": "errors", "errors": {blocks.TEXT: _SAY}}
        return None

    async def submitted(self, view: Mapping[str, Any], user: str) -> None:
        """What was written or chosen in a dialog."""
        if not await self._workspace.hears(user):
            return
        metadata = _metadata(view)
        place = Place(
            str(metadata.get("channel")), metadata.get("thread"), user, str(metadata.get("channel")).startswith("D")
        )
        event_id = f"view:{view.get('id')}"
        if view.get("callback_id") == blocks.CORRECTION:
            if (answer_id := number(metadata.get("answer"))) is not None:
                await self._corrected(place, answer_id, _written(view), event_id)
        elif view.get("callback_id") == blocks.REMEMBER:
            url = str(metadata.get("url") or "")
            if url and not await self._workspace.present(place.channel):  # it left meanwhile
                await _tell(url, NOT_HERE)
                return
            await self._remembered(place, _written(view), event_id, metadata.get("ts"))
        elif view.get("callback_id") == blocks.SETTINGS:
            await self._chosen(place, view)

    async def _corrected(self, place: Place, answer_id: int, text: str, event_id: str) -> None:
        workspace = self._workspace
        member = await workspace.directory.member(place.user)
        feedbacks = (await workspace.desk()).feedbacks
        try:
            memory = await feedbacks.correct(answer_id, member.person.id, text, SURFACE, event_id)
        except (TakenBack, UnknownAnswer, EmptyCorrection) as error:
            await workspace.outlet.whisper(place, str(error))
            return
        metrics.feedback(SURFACE, "correction")
        await self._teaching.confirm_correction(place, memory)

    async def _remembered(self, place: Place, text: str, event_id: str, ts: str | None) -> None:
        workspace = self._workspace
        member = await workspace.directory.member(place.user)
        channel = await workspace.directory.channel(place.channel)
        feedbacks = (await workspace.desk()).feedbacks
        try:
            memory = await feedbacks.remember(text, member.person.id, SURFACE, event_id, channel.audience_id)
        except EmptyCorrection as error:
            await workspace.outlet.whisper(place, str(error))
            return
        if ts:
            await workspace.outlet.mark(place.channel, ts, "memo")
        await self._teaching.confirm_remembered(place, memory)

    async def _chosen(self, place: Place, view: Mapping[str, Any]) -> None:
        from bot.morning import set_report_place

        workspace = self._workspace
        if not await workspace.may_change(place.user, place.channel):
            return
        values = (view.get("state") or {}).get("values") or {}
        picked = values.get(blocks.FOLLOW, {}).get(blocks.FOLLOW, {}).get("selected_option") or {}
        follow: Follow = picked.get("value", "mention")
        async with workspace.database.team(workspace.team_id) as connection:
            await channels.set_follow(connection, SURFACE, place.channel, follow)
        # The team has one report: where it comes is an admin's to say, not any channel's creator's.
        if blocks.REPORT in values and (await workspace.directory.member(place.user)).admin:
            here = bool(values[blocks.REPORT].get(blocks.REPORT, {}).get("selected_options"))
            if here and not workspace.strangers and (await workspace.directory.channel(place.channel)).shared:
                await workspace.outlet.whisper(place, _SHARED)
                return
            team = (await workspace.desk()).team
            if here or team.settings.get("report", {}).get(SURFACE) == place.channel:
                await set_report_place(workspace.database, team, SURFACE, place.channel if here else None)
                await workspace.front.renew(workspace.team_id)
        await workspace.outlet.whisper(place, "Saved.")

    async def _open(self, trigger: str, place: Place, view: blocks.View) -> None:
        workspace = self._workspace
        try:
            async with calling():
                await workspace.client.views_open(trigger_id=trigger, view=view)
        except (Unsupported, NotAllowed):
            await workspace.outlet.whisper(place, _NO_DIALOGS)
        except Later as error:  # its trigger will not live until then
            log.warning("a dialog could not be opened", workspace=workspace.key, error=str(error))
            await workspace.outlet.whisper(place, _BUSY)
        except NotThere as error:
            log.info("a dialog could not be opened", workspace=workspace.key, error=str(error))
            await workspace.outlet.whisper(place, _BUSY)


async def _tell(url: str, text: str) -> None:
    """Tells one person something in a channel where the bot may not be; an address that is spent is left."""
    if url:
        with contextlib.suppress(NotThere, Unsupported):
            await respond(url, {"response_type": "ephemeral", "replace_original": False, "text": text})


def _metadata(view: Mapping[str, Any]) -> dict[str, Any]:
    """What we put into a dialog when it was opened; nothing where it is not ours."""
    try:
        metadata = json.loads(view.get("private_metadata") or "{}")
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _written(view: Mapping[str, Any]) -> str:
    values = (view.get("state") or {}).get("values") or {}
    return str(values.get(blocks.TEXT, {}).get(blocks.TEXT, {}).get("value") or "")

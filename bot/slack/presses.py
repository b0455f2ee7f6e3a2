"""Buttons under answers, confirmations, reports and in the App Home, but for those that open a dialog."""

from collections.abc import Mapping
from typing import Any

import structlog

from bot.answer import Asked
from bot.settling import settle
from bot.slack import blocks
from bot.slack.calls import NotThere, Unsupported
from bot.slack.homes import Homes
from bot.slack.incoming import number
from bot.slack.noted import quoted
from bot.slack.opinions import Opinions
from bot.slack.outlet import Place
from bot.slack.responses import respond
from bot.slack.teaching import Teaching
from bot.slack.workspace import SURFACE, Workspace
from storage import audiences, persons, posts, sources
from storage.errors import NightschoolError
from storage.posts import Post

log = structlog.get_logger(__name__)


class Presses:
    """Works off the presses of a workspace; `again`: one that was taken up before."""

    def __init__(self, workspace: Workspace, *, again: bool = False) -> None:
        self._workspace = workspace
        self._again = again
        self._opinions = Opinions(workspace)
        self._homes = Homes(workspace)
        self._teaching = Teaching(workspace)

    async def pressed(self, body: Mapping[str, Any]) -> None:
        """One press, as Slack sends it (`block_actions`)."""
        action = (body.get("actions") or [{}])[0]
        name, value = str(action.get("action_id") or ""), _value(action)
        id = number(value)
        user, place = str((body.get("user") or {}).get("id") or ""), place_of(body)
        if not user or place is None or not await self._workspace.hears(user):
            return
        if name in (blocks.THUMBS, blocks.UP, blocks.DOWN):
            await self._opinions.thumb(value, user, place, str(action.get("action_ts") or ""))
        elif name == blocks.PRIVATELY and id is not None:
            await self._privately(id, place)
        elif name == blocks.PUBLISH and id is not None:
            await self._publish(id, place, str(body.get("response_url") or ""), str(action.get("action_ts") or "0"))
        elif name == blocks.SHARE and id is not None:
            await self._share(id, place)
        elif name == blocks.SETTLE:
            await self._settle(value, place)
        elif name == blocks.OWN:
            await self._own(value, user)
        elif name == blocks.TRAINING:
            await self._training(value, user)

    async def _privately(self, answer_id: int, place: Place) -> None:
        """The same question, for this person alone: with all that they may know."""
        workspace = self._workspace
        answer = await workspace.readable(answer_id, place.user)
        if answer is None:
            return
        member = await workspace.directory.member(place.user)
        async with workspace.database.team(workspace.team_id) as connection:
            alone = await audiences.person(connection, member.person.id)
        asked = Asked(answer.question, member.person.id, alone.id, SURFACE, f"privately:{answer_id}:{place.user}")
        own = await (await workspace.desk()).answer(asked)
        await self._whisper(place, own.text, blocks.private(own, form=workspace.outlet.form))

    async def _publish(self, answer_id: int, place: Place, response_url: str, pressed_ts: str) -> None:
        """An answer that somebody got in private, posted where they asked, by their own decision; once."""
        workspace = self._workspace
        answer = await workspace.readable(answer_id, place.user)
        member = await workspace.directory.member(place.user)
        if answer is None or answer.person_id != member.person.id:
            return
        event_id = f"publish:{answer_id}:{place.channel}"
        async with workspace.database.team(workspace.team_id) as connection:
            if await posts.of_event(connection, SURFACE, event_id):
                return
        asked = blocks.context(f"<@{place.user}> asked: {quoted(answer.question)}")
        made = [asked, *blocks.answer(answer, place="channel", form=workspace.outlet.form)]
        stands = await workspace.outlet.orphans(place, event_id, pressed_ts) if self._again else []
        key = (
            stands[0]
            if stands
            else await workspace.outlet.post(place, blocks.fallback(answer.text), made, event_id=event_id)
        )
        async with workspace.database.team(workspace.team_id) as connection:
            await posts.save(connection, Post(SURFACE, place.channel, key, place.thread, event_id, answer.id))
        if response_url:
            await respond(response_url, {"delete_original": True})

    async def _share(self, memory_id: int, place: Place) -> None:
        workspace = self._workspace
        member = await workspace.directory.member(place.user)
        try:
            memory = await (await workspace.desk()).feedbacks.share(memory_id, member.person.id)
        except NightschoolError as error:
            await workspace.outlet.whisper(place, str(error))
            return
        await self._teaching.confirm_remembered(place, memory)

    async def _settle(self, value: str, place: Place) -> None:
        one, _, other = value.partition(" ")
        keep, drop = number(one), number(other)
        if keep is None or drop is None:
            return
        workspace = self._workspace
        desk = await workspace.desk()
        member = await workspace.directory.member(place.user)
        try:
            kept = await settle(workspace.database, desk.team, keep, drop, member.person.id, admin=member.admin)
        except NightschoolError as error:
            await workspace.outlet.whisper(place, str(error))
            return
        await workspace.outlet.whisper(place, f"Settled: {quoted(kept.statement)} holds.")
        await self._homes.show(place.user)

    async def _own(self, value: str, user: str) -> None:
        switch, _, on = value.partition(" ")
        if switch not in ("study", "name"):
            return
        workspace = self._workspace
        member = await workspace.directory.member(user)
        async with workspace.database.team(workspace.team_id) as connection:
            await persons.choose(connection, member.person.id, switch, on == "on")
        await self._homes.show(user)

    async def _training(self, value: str, user: str) -> None:
        id, _, on = value.partition(" ")
        source = number(id)
        workspace = self._workspace
        member = await workspace.directory.member(user)
        if not member.admin or source is None:
            return
        async with workspace.database.team(workspace.team_id) as connection:
            await sources.switch(connection, source, training=on == "on")
        log.info("training switched", source=source, training=on == "on", person=member.person.id)
        await self._homes.show(user)

    async def _whisper(self, place: Place, text: str, made: list[blocks.Block]) -> None:
        try:
            await self._workspace.outlet.whisper(place, blocks.fallback(text), made)
        except (NotThere, Unsupported):
            log.info("a private answer could not be shown", workspace=self._workspace.key)


def place_of(body: Mapping[str, Any]) -> Place | None:
    """Where something was pressed, None where nothing was; in the App Home there is no channel."""
    presser = body.get("user")
    user = presser.get("id") if isinstance(presser, Mapping) else None
    container, message = body.get("container") or {}, body.get("message") or {}
    channel = (body.get("channel") or {}).get("id") or container.get("channel_id") or ""
    if not user:
        return None
    thread = message.get("thread_ts") or container.get("thread_ts")
    return Place(channel, thread, user, channel.startswith("D"))


def _value(action: Mapping[str, Any]) -> str:
    chosen = action.get("selected_option") or {}
    return str(action.get("value") or chosen.get("value") or "")

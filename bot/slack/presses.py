"""Buttons under answers, confirmations, reports and in the App Home, but for those that open a dialog."""

import contextlib
from collections.abc import Mapping
from typing import Any

import structlog

from bot.answer import Asked
from bot.inbox import aside
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
from storage import answers, audiences, persons, posts, sources
from storage.answers import Answer, NewAnswer
from storage.errors import NightschoolError
from storage.posts import Post

log = structlog.get_logger(__name__)

_LATE = "I could not show that in time: press once more."
_UNREADABLE = "This answer rests on what you may not see."


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
            await self._privately(id, place, str(action.get("action_ts") or "0"))
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
        elif name in (blocks.WHY, blocks.CORRECT) and id is not None:  # it is here only where its dialog did not open
            await self._workspace.outlet.whisper(place, _LATE)

    async def _privately(self, answer_id: int, place: Place, pressed_ts: str) -> None:
        """The same question, for this person alone: with all that they may know now."""
        workspace = self._workspace
        answer = await workspace.readable(answer_id, place.user)
        if answer is None:
            await workspace.outlet.whisper(place, _UNREADABLE)
            return
        member = await workspace.directory.member(place.user)
        async with workspace.database.team(workspace.team_id) as connection:
            alone = await audiences.person(connection, member.person.id)
        event_id = f"privately:{answer_id}:{place.user}:{pressed_ts}"
        asked = Asked(answer.question, member.person.id, alone.id, SURFACE, event_id)
        desk = await workspace.desk()
        with aside():
            own = await desk.answer(asked)
        await workspace.outlet.confide(place, own)

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
        # What is said there is of that place from now on: whoever corrects it corrects it for all who read it.
        there = await workspace.directory.channel(place.channel)
        async with workspace.database.team(workspace.team_id) as connection:
            public = await answers.save(connection, _copy(answer, there.audience_id, event_id))
        asked = blocks.context(f"<@{place.user}> asked: {quoted(answer.question)}")
        said = blocks.fallback(public.text)

        async def post(form: blocks.Form) -> str:
            made = [asked, *blocks.answer(public, place="channel", form=form)]
            return await workspace.outlet.post(place, said, made, event_id=event_id)

        stands = await workspace.outlet.orphans(place, event_id, pressed_ts) if self._again else []
        key = stands[0] if stands else await workspace.outlet.shaped(post)
        async with workspace.database.team(workspace.team_id) as connection:
            await posts.save(connection, Post(SURFACE, place.channel, key, place.thread, event_id, public.id))
        if response_url:
            with contextlib.suppress(NotThere, Unsupported):  # spent after half an hour: then they alone still see it
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
            if not place.channel:
                await self._homes.show(place.user, str(error))
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


def _copy(answer: Answer, audience_id: int, event_id: str) -> NewAnswer:
    """A private answer as it stands in a channel, for all who read it there."""
    return NewAnswer(
        surface=SURFACE,
        question=answer.question,
        text=answer.text,
        route=answer.route,
        person_id=answer.person_id,
        audience_id=audience_id,
        event_id=event_id,
        quoted=answer.quoted,
        version_id=answer.version_id,
        memory_id=answer.memory_id,
        sources=answer.sources,
        confidence=answer.confidence,
    )


def _value(action: Mapping[str, Any]) -> str:
    chosen = action.get("selected_option") or {}
    return str(action.get("value") or chosen.get("value") or "")

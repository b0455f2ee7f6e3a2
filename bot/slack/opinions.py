"""Thumbs and emoji on the bot's answers: one row an event, the last thumb of a person counts, what is taken off is undone.

Slack's feedback buttons send nothing when a thumb is taken back, so each press is an event of its own; an emoji is one event
however often it is delivered, added and removed, in whatever order: the later of the two by Slack's own time holds.
"""

from typing import Any

import structlog

from bot import metrics
from bot.inbox import Later
from bot.slack import noted
from bot.slack.incoming import number
from bot.slack.outlet import Place
from bot.slack.workspace import SURFACE, Workspace, at, event_of
from storage import posts
from storage.errors import UnknownAnswer

log = structlog.get_logger(__name__)

_UNSEEN_TRIES = 4


class Opinions:
    """Works off what people of a workspace think of answers."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def thumb(self, value: str, user: str, place: Place, action_ts: str) -> None:
        """A press of a thumb: `value` is "up 12" or "down 12", with the answer's number."""
        side, _, id = value.partition(" ")
        answer_id = number(id)
        if side not in ("up", "down") or answer_id is None:
            return
        workspace = self._workspace
        desk = await workspace.desk()
        member = await workspace.directory.member(user)
        event_id = f"thumb:{answer_id}:{user}:{action_ts}"
        try:
            await desk.feedbacks.thumbs(
                answer_id, member.person.id, side == "up", SURFACE, event_id, at(action_ts) if action_ts else None
            )
        except UnknownAnswer:
            return
        metrics.feedback(SURFACE, "thumbs")
        await workspace.outlet.whisper(place, noted.thumb(side == "up"))

    async def emoji(self, event: dict[str, Any], attempts: int) -> None:
        """An emoji that was added or removed, on whatever message."""
        workspace = self._workspace
        item, user = event.get("item") or {}, event.get("user")
        name, when = str(event.get("reaction") or ""), event.get("event_ts")
        channel, ts = item.get("channel"), item.get("ts")
        if not (channel and ts and user and name and when) or user == workspace.bot_user:
            return
        desk = await workspace.desk()
        meaning = desk.feedbacks.meaning(name)
        added = event.get("type") != "reaction_removed"  # taken off it counts no more, whatever it means by now
        if added and meaning is None:
            return
        async with workspace.database.team(workspace.team_id) as connection:
            post = await posts.get(connection, SURFACE, channel, ts)
        if post is not None and post.answer_id is None:
            raise Later(1.0, "The answer it is on is still being written.", patient=True)
        if post is None or post.answer_id is None:
            if event.get("item_user") == workspace.bot_user and attempts < _UNSEEN_TRIES:
                raise Later(1.0, "The answer it is on is not noted yet.")
            return
        event_id = f"emoji:{event_of(channel, ts)}:{user}:{name.split('::')[0]}"
        place = Place(channel, post.thread, user, channel.startswith("D"))
        if not added:
            if await desk.feedbacks.retract(SURFACE, event_id, at(when)):
                metrics.feedback(SURFACE, "retraction")
                await workspace.outlet.whisper(place, noted.retracted())
            return
        if not await workspace.hears(user):
            return
        member = await workspace.directory.member(user)
        await desk.feedbacks.emoji(post.answer_id, member.person.id, name, SURFACE, event_id, at(when))
        metrics.feedback(SURFACE, "emoji")
        await workspace.outlet.whisper(place, noted.emoji(name, meaning == "up"))

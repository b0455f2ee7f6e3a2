"""Where people write to it alone: prompts made from what the team asks and what was learnt lately.

They stand above its messages (`agent_view`), or with a greeting in the Assistant pane of an app made before July 2026
(`assistant_view`): https://docs.slack.dev/ai/migrating-to-agent-messaging.
"""

from typing import Any

import structlog

from bot.inbox import Later
from bot.slack.calls import NotAllowed, NotThere, Unsupported, calling
from bot.slack.outlet import Place
from bot.slack.text import shortened
from bot.slack.workspace import Workspace
from storage import answers, audiences, examples, memories

log = structlog.get_logger(__name__)

GREETING = "Hello! I answer from what this team has taught me. Ask me something, or tell me “remember that …”."
_TITLE = "What others asked"
_PROMPTS = 4
_ASKED = 50


class Assistant:
    """Greets people of a workspace where they write to it alone."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def suggest(self, channel: str) -> None:
        """Somebody opened the messages: prompts above them. In the pane's threads Slack wants `thread_ts`, here it must not be."""
        workspace = self._workspace
        if not (prompts := await self._prompts()):
            return
        try:
            async with calling():
                await workspace.client.assistant_threads_setSuggestedPrompts(
                    channel_id=channel, prompts=prompts, title=_TITLE
                )
        except (Unsupported, NotThere, NotAllowed) as error:
            log.info("no prompts above the messages", workspace=workspace.key, error=str(error))

    async def greet(self, payload: dict[str, Any]) -> None:
        """A thread of the pane was opened."""
        workspace = self._workspace
        thread = payload.get("assistant_thread") or {}
        channel, ts, user = thread.get("channel_id"), thread.get("thread_ts"), thread.get("user_id")
        if not (channel and ts and user):
            return
        place = Place(channel, ts, user, True)
        await workspace.outlet.post(place, GREETING)
        prompts = await self._prompts()
        try:
            if prompts:
                async with calling():
                    await workspace.client.assistant_threads_setSuggestedPrompts(
                        channel_id=channel, thread_ts=ts, prompts=prompts, title=_TITLE
                    )
        except (Unsupported, NotThere, NotAllowed, Later) as error:  # taken up again it would greet once more
            log.info("no prompts in the pane", workspace=workspace.key, error=str(error))

    async def _prompts(self) -> list[dict[str, str]]:
        """Questions that others asked in public and that had an answer, then cues of what was learnt lately."""
        workspace = self._workspace
        async with workspace.database.team(workspace.team_id) as connection:
            everyone = (await audiences.whole_team(connection)).id
            asked = await answers.latest(connection, _ASKED)
            learnt = await memories.of_states(connection, ["learnt"])
            newest = sorted((m for m in learnt if m.audience_id == everyone), key=lambda m: m.dated, reverse=True)[
                :_PROMPTS
            ]
            cues = await examples.of_memories(connection, [memory.id for memory in newest])
        public = [a.question for a in asked if a.route != "unknown" and a.audience_id in (None, everyone)]
        questions = [*public, *(one.question for one in cues if one.kind == "cue")]
        return [
            {"title": shortened(question, 60), "message": shortened(question, 300)}
            for question in list(dict.fromkeys(questions))[:_PROMPTS]
        ]

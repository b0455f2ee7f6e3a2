"""`/nightschool …`: answers to the one who typed it, and to nobody else."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from bot.answer import Asked, EmptyQuestion, QuestionTooLong
from bot.feedback import EmptyCorrection, NothingToForget
from bot.inbox import aside
from bot.slack import blocks, noted
from bot.slack.calls import NotThere
from bot.slack.morning import report
from bot.slack.responses import respond
from bot.slack.teaching import Teaching
from bot.slack.text import plain, safe_mrkdwn
from bot.slack.workspace import SURFACE, Workspace
from storage import adapters, audiences, events, nights

log = structlog.get_logger(__name__)

COMMAND = "/nightschool"
HELP = """\
*What I understand*
`/nightschool ask …`  a question, answered to you alone
`/nightschool remember …`  something for me to know
`/nightschool forget …`  what I am not to know any more
`/nightschool status`  how I am
`/nightschool report`  what I learnt last night
`/nightschool settings`  what I answer in this channel
In a channel mention me; in a thread of mine “no, it is …” corrects me, and so do 👎 and the message shortcut “Correct this”."""
NOT_HERE = "I am not in this channel. Invite me, or ask me in a direct message."
_LATE = "I could not show the settings in time: write `/nightschool settings` once more."


@dataclass(frozen=True, slots=True)
class Said:
    """What is replied: a text, and its blocks where there are any, in the form that the server takes."""

    text: str
    made: Callable[[blocks.Form], list[blocks.Block]] | None = None


class Commands:
    """Works off the commands of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._teaching = Teaching(workspace)

    async def run(self, body: Mapping[str, Any]) -> None:
        """One command, as Slack sends it; who is not heard elsewhere is not heard here."""
        word, _, rest = str(body.get("text") or "").strip().partition(" ")
        user, channel = str(body.get("user_id") or ""), str(body.get("channel_id") or "")
        rest = plain(rest.strip(), {})
        trigger, url = str(body.get("trigger_id") or ""), str(body.get("response_url") or "")
        if not user or not url or not await self._workspace.hears(user):
            return
        try:
            said = await self._said(word.lower(), rest, user, channel, f"command:{trigger}")
        except NotThere:
            said = Said(NOT_HERE)

        async def reply(form: blocks.Form) -> None:
            made = {"blocks": said.made(form)} if said.made else {}
            await respond(url, {"response_type": "ephemeral", "text": said.text, **made})

        await self._workspace.outlet.shaped(reply)

    async def _said(self, word: str, rest: str, user: str, channel: str, event_id: str) -> Said:
        if word == "ask":
            return await self._ask(rest, user, event_id)
        if word == "status":
            return Said(await self._status())
        if word == "report":
            return await self._report()
        if word == "forget":
            return Said(await self._forget(rest, user, event_id))
        if word == "remember":
            return await self._remember(rest, user, channel, event_id)
        if word == "settings" and not rest:  # it is here only where its dialog did not open
            return Said(_LATE if await self._workspace.present(channel) else NOT_HERE)
        if word in ("", "help"):
            return Said(HELP)
        return Said(f"I do not understand “{safe_mrkdwn(word[:40])}”.\n{HELP}")

    async def _ask(self, question: str, user: str, event_id: str) -> Said:
        workspace = self._workspace
        member = await workspace.directory.member(user)
        async with workspace.database.team(workspace.team_id) as connection:
            alone = await audiences.person(connection, member.person.id)
        asked = Asked(question, member.person.id, alone.id, SURFACE, event_id)
        desk = await workspace.desk()
        try:
            with aside():
                answer = await desk.answer(asked)
        except (EmptyQuestion, QuestionTooLong) as error:
            return Said(str(error))
        return Said(blocks.fallback(answer.text), lambda form: blocks.private(answer, form=form))

    async def _status(self) -> str:
        workspace = self._workspace
        desk = await workspace.desk()
        serving = desk.colleague.serving
        async with workspace.database.team(workspace.team_id) as connection:
            adapter = await adapters.ensure(connection)
            night = await nights.latest(connection, adapter.id)
        async with workspace.database.system() as connection:
            waiting, seconds = await events.waiting(connection, workspace.team_id)
        knows = (
            f"version {serving.number}, {len(serving.memory_ids)} memories learnt" if serving else "nothing learnt yet"
        )
        slept = f"{night.started_at:%Y-%m-%d %H:%M} UTC, {night.state}" if night else "none yet"
        busy = f"{waiting} waiting, the oldest for {seconds:.0f} s" if waiting > 1 else "nothing waits"
        return (
            f"*At work:* {knows}\n*Last night:* {slept}\n"
            f"*Next night:* {desk.team.night_at:%H:%M} ({safe_mrkdwn(desk.team.timezone)})\n*Queue:* {busy}"
        )

    async def _report(self) -> Said:
        from bot.morning import honoured, unsettled

        workspace = self._workspace
        team = (await workspace.desk()).team
        async with workspace.database.team(workspace.team_id) as connection:
            adapter = await adapters.ensure(connection)
            night = await nights.latest(connection, adapter.id)
        if night is None:
            return Said("There was no night yet.")
        made = report(await honoured(workspace.database, team, night), await unsettled(workspace.database, team))
        return Said("The last night", lambda form: made)

    async def _forget(self, text: str, user: str, event_id: str) -> str:
        if not text:
            return "Forget what? For example: `/nightschool forget the door code`"
        workspace = self._workspace
        member = await workspace.directory.member(user)
        try:
            gone = await (await workspace.desk()).feedbacks.forget(text, member.person.id, SURFACE, event_id)
        except NothingToForget:
            gone = []
        return noted.forgotten([memory.statement for memory in gone])

    async def _remember(self, text: str, user: str, channel: str, event_id: str) -> Said:
        workspace = self._workspace
        member = await workspace.directory.member(user)
        place = await workspace.directory.channel(channel)
        desk = await workspace.desk()
        try:
            memory = await desk.feedbacks.remember(text, member.person.id, SURFACE, event_id, place.audience_id)
        except EmptyCorrection:
            return Said("Remember what? For example: `/nightschool remember the office closes at six`")
        confirmed, made = await self._teaching.remembered(memory)
        return Said(confirmed, lambda form: made)

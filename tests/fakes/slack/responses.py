"""response_url: how an app answers an interaction or command without a token, five times within thirty minutes.

https://docs.slack.dev/interactivity/handling-user-interaction/#message_responses
"""

import json
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from tests.fakes.slack.chat import checked_blocks
from tests.fakes.slack.objects import Channel, Ephemeral, Json, SlackError, User

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack
    from tests.fakes.slack.workspace import Workspace

USES, SECONDS = 5, 1800.0


@dataclass
class ResponseUrl:
    """Where an answer goes."""

    workspace: "Workspace"
    channel: Channel
    user: User
    ts: str | None
    thread_ts: str | None
    ephemeral: Ephemeral | None
    made: float
    uses: int = 0


class Responses:
    """All response URLs."""

    def __init__(self, slack: "FakeSlack") -> None:
        self.slack = slack
        self.known: dict[str, ResponseUrl] = {}
        self.received: list[Json] = []
        """Every body that was posted, refused ones too."""
        self.seconds = SECONDS

    def make(
        self,
        workspace: "Workspace",
        channel: Channel,
        user: User,
        ts: str | None,
        thread_ts: str | None,
        ephemeral: Ephemeral | None,
    ) -> str:
        """A fresh address. `ts` is the message from which the interaction came."""
        key = secrets.token_hex(12)
        self.known[key] = ResponseUrl(workspace, channel, user, ts, thread_ts, ephemeral, time.monotonic())
        return f"{self.slack.url}/response/{key}"

    async def handle(self, request: web.Request) -> web.Response:
        """One answer of the app."""
        target = self.known.get(request.match_info["id"])
        if target is None or time.monotonic() - target.made > self.seconds:
            return web.Response(status=404, text="expired_url")
        if target.uses >= USES:
            return web.Response(status=404, text="used_url")
        try:
            body = json.loads(await request.text())
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        target.uses += 1
        self.received.append(body)
        try:
            self._apply(target, body)
        except SlackError as error:
            return web.Response(status=400, text=error.code)
        self.slack.changed()
        return web.Response(text="ok")

    def answer(self, url: str, body: Json) -> None:
        """Show what an acknowledgement said, as if it had come by its response_url."""
        self._apply(self.known[url.rsplit("/", 1)[1]], body)
        self.slack.changed()

    def _apply(self, target: ResponseUrl, body: Json) -> None:
        workspace, channel = target.workspace, target.channel
        original = workspace.posted[channel.id].get(target.ts or "")
        if body.get("delete_original"):
            if target.ephemeral:
                target.ephemeral.gone = True
            elif original:
                workspace.remove(channel, original)
            return
        text, blocks = str(body.get("text") or ""), checked_blocks(body.get("blocks") or [], workspace)
        if not text and not blocks:
            raise SlackError("no_text")
        if body.get("replace_original"):
            if target.ephemeral:
                target.ephemeral.text, target.ephemeral.blocks = text, blocks
                return
            if original and original.user == workspace.bot.id:
                before = original.as_json()
                original.text, original.blocks = text, blocks
                workspace.change(channel, original, before)
                return
        thread_ts = body.get("thread_ts")
        if body.get("response_type") == "in_channel":
            author: Json = {"bot_id": workspace.bot.bot_id, "app_id": self.slack.app_id}
            workspace.post(channel, workspace.bot, text, blocks=blocks, thread_ts=thread_ts, **author)
        else:
            made = Ephemeral(channel.id, target.user.id, workspace.now(), text, blocks, thread_ts)
            workspace.ephemerals.append(made)

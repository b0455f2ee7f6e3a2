"""/control: the people's acts over HTTP, for a fake that runs as a process of its own.

A request is `{"act": "say", "args": {"user": "olga", "channel": "general", "text": "hello"}}`, with `"team"` where there
are several; the answer is `{"ok": true, "result": …}`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.fakes.slack.objects import Json, SlackError

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack

ACTS = {
    "say",
    "edit",
    "delete",
    "unfurl",
    "react",
    "unreact",
    "join",
    "leave",
    "rename",
    "archive",
    "unarchive",
    "convert_to_private",
    "join_team",
    "change_user",
    "uninstall",
    "open_home",
    "open_assistant",
    "click",
    "shortcut",
    "command",
    "click_in_view",
    "submit",
    "close_view",
}
READS = {"add_user", "add_channel", "dm", "messages", "from_bot", "ephemeral", "views_of", "home_of"}


async def handle(slack: "FakeSlack", request: web.Request) -> web.Response:
    """Do one act."""
    asked: Json = await request.json()
    workspace = slack.workspaces[asked["team"]] if asked.get("team") else slack.workspace
    act, args = asked.get("act", ""), asked.get("args") or {}
    result: Any = None
    try:
        if act in ACTS:
            result = await getattr(workspace, act)(**args)
        elif act in READS:
            result = getattr(workspace, act)(**args)
        elif act == "fail_next":
            slack.fail_next(**args)
        elif act == "settled":
            await slack.delivery.settled(**args)
        elif act == "calls":
            result = slack.calls_of(*args["methods"]) if args.get("methods") else slack.calls
        else:
            raise LookupError(f"no act {act}; there are {sorted(ACTS | READS | {'settled', 'calls', 'fail_next'})}")
    except (LookupError, SlackError, StopIteration, TypeError, ValueError) as error:
        return web.json_response({"ok": False, "error": f"{type(error).__name__}: {error}"}, status=400)
    return web.json_response({"ok": True, "result": plain(result)})


def plain(value: Any) -> Any:
    """A result as JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value

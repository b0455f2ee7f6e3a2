"""The Web API's views.* and assistant.threads.* methods. Pages under https://docs.slack.dev/reference/methods/."""

import secrets
from typing import TYPE_CHECKING, Any

from tests.fakes.slack.api import Request, method
from tests.fakes.slack.blocks import check_view
from tests.fakes.slack.chat import TS
from tests.fakes.slack.objects import AssistantThread, Json, SlackError, View, invalid_arguments

if TYPE_CHECKING:
    from tests.fakes.slack.workspace import Workspace

MOST_MODALS = 3
MOST_PROMPTS = 4
KEPT = (
    "type",
    "title",
    "submit",
    "close",
    "blocks",
    "private_metadata",
    "callback_id",
    "clear_on_close",
    "notify_on_close",
    "submit_disabled",
    "external_id",
)


def checked_view(workspace: "Workspace", view: Any, kind: str) -> Json:
    """A view as Slack would take it, with ids for its blocks; invalid_arguments where it would not."""
    errors = check_view(view, workspace.slack.mode == "old")
    if not errors and view["type"] != kind:
        errors = [f"unsupported type: {view['type']} [json-pointer:/view/type]"]
    if errors:
        raise invalid_arguments(*errors)
    if len(str(view)) > 250_000:
        raise SlackError("view_too_large")
    external = view.get("external_id")
    if external and any(one.json.get("external_id") == external and one.is_open for one in workspace.views.values()):
        raise SlackError("duplicate_external_id")
    taken = {key: view[key] for key in KEPT if key in view}
    taken["blocks"] = [{"block_id": workspace.new_id("b")} | block for block in view["blocks"]]
    return taken


def shown(workspace: "Workspace", user: str, view: Json, below: View | None = None) -> View:
    """Put a checked view before the user, on top of `below`."""
    view_id = workspace.new_id("V")
    root = below.stack if below else view_id
    made = View(view_id, user, {}, root)
    made.json = {
        "id": view_id,
        "team_id": workspace.id,
        "private_metadata": "",
        "callback_id": "",
        "state": {"values": {}},
        "title": None,
        "close": None,
        "submit": None,
        "clear_on_close": False,
        "notify_on_close": False,
        "external_id": "",
        "previous_view_id": below.id if below else None,
        "root_view_id": root,
        "app_id": workspace.slack.app_id,
        "app_installed_team_id": workspace.id,
        "bot_id": workspace.bot.bot_id,
        "hash": new_hash(),
    } | view
    workspace.views[view_id] = made
    return made


def new_hash() -> str:
    """A view's version mark."""
    return f"1764100000.{secrets.token_hex(4)}"


def replaced(view: View, by: Json) -> View:
    """Show another content in an existing view."""
    kept = {key: view.json[key] for key in ("id", "team_id", "previous_view_id", "root_view_id", "app_id", "bot_id")}
    emptied = {"private_metadata": "", "callback_id": "", "title": None, "close": None, "submit": None}
    view.json = view.json | emptied | {"state": {"values": {}}} | by | kept | {"hash": new_hash()}
    return view


@method("views.open")
def open_view(request: Request) -> Json:
    """Open a modal by a trigger that a person's act gave."""
    trigger = request.workspace.exchange(request.text("trigger_id"))
    view = checked_view(request.workspace, request.json("view"), "modal")
    return {"view": shown(request.workspace, trigger.user, view).json}


@method("views.push")
def push_view(request: Request) -> Json:
    """Open a modal on top of the one in which the trigger was given."""
    trigger = request.workspace.exchange(request.text("trigger_id"))
    view = checked_view(request.workspace, request.json("view"), "modal")
    below = request.workspace.views.get(trigger.view or "")
    if below is None or below.json["type"] != "modal":
        raise SlackError("not_found")
    if len(request.workspace.views_of(trigger.user)) >= MOST_MODALS:
        raise SlackError("push_limit_reached")
    return {"view": shown(request.workspace, trigger.user, view, below).json}


@method("views.update")
def update_view(request: Request) -> Json:
    """Change an open modal."""
    view_id, external = request.text("view_id", required=False), request.text("external_id", required=False)
    if not view_id and not external:
        raise invalid_arguments("missing required field: view_id")
    for view in request.workspace.views.values():
        if view.is_open and (view.id == view_id or (external and view.json.get("external_id") == external)):
            given = request.text("hash", required=False)
            if given and given != view.json["hash"]:
                raise SlackError("hash_conflict", view=view.json)
            before, view.json["external_id"] = view.json["external_id"], ""
            try:
                new = checked_view(request.workspace, request.json("view"), view.json["type"])
            finally:
                view.json["external_id"] = before
            return {"view": replaced(view, new).json}
    raise SlackError("not_found")


@method("views.publish")
def publish_view(request: Request) -> Json:
    """Show a user's Home tab."""
    workspace, user = request.workspace, request.text("user_id")
    if user not in workspace.users:
        raise invalid_arguments("user_not_found")
    home = workspace.home_of(user)
    given = request.text("hash", required=False)
    if home and given and given != home.json["hash"]:
        raise SlackError("hash_conflict")
    view = checked_view(workspace, request.json("view"), "home")
    return {"view": (replaced(home, view) if home else shown(workspace, user, view)).json}


# The assistant's threads


def thread_for(request: Request, started: bool) -> AssistantThread:
    """The thread that `channel_id` and `thread_ts` name. Unless it must be one `started` in the pane, any thread will
    do: it gets a record for its status.
    """
    workspace = request.workspace
    channel, ts = workspace.seen_by_bot(request.text("channel_id")), request.text("thread_ts")
    if workspace.bot.id not in channel.members:
        raise SlackError("not_in_channel")
    if not TS.fullmatch(ts):
        raise SlackError("invalid_thread_ts")
    thread = workspace.assistant_threads.get((channel.id, ts))
    if thread is None:
        if started or ts not in workspace.posted[channel.id]:
            raise SlackError("thread_not_found")
        thread = workspace.assistant_threads[channel.id, ts] = AssistantThread(channel.id, ts, "")
    return thread


@method("assistant.threads.setStatus", "assistant:write", "chat:write")
def set_status(request: Request) -> Json:
    """Show under a thread what the app is doing; '' clears, and so does the app's next message there."""
    thread = thread_for(request, started=False)
    thread.status = request.text("status", required=False)
    thread.loading_messages = request.json("loading_messages") or []
    thread.statuses.append(thread.status)
    return {}


@method("assistant.threads.setTitle", "assistant:write")
def set_title(request: Request) -> Json:
    """Name a thread of the pane; its first message changes, and the app is told."""
    thread = thread_for(request, started=True)
    thread.title = request.text("title")
    workspace = request.workspace
    root = workspace.message(thread.channel, thread.thread_ts)
    before = root.as_json()
    root.text = thread.title
    workspace.change(workspace.channel(thread.channel), root, before)
    return {}


@method("assistant.threads.setSuggestedPrompts", "assistant:write")
def set_suggested_prompts(request: Request) -> Json:
    """Offer up to four prompts in a thread of the pane; without `thread_ts` above the messages, as apps with `agent_view` do."""
    above = not request.text("thread_ts", required=False)
    thread = None if above else thread_for(request, started=True)
    prompts = request.json("prompts")
    if not isinstance(prompts, list) or not 1 <= len(prompts) <= MOST_PROMPTS:
        raise invalid_arguments(f"no more than {MOST_PROMPTS} items allowed [json-pointer:/prompts]")
    for index, prompt in enumerate(prompts):
        for key in ("title", "message"):
            if not isinstance(prompt, dict) or not prompt.get(key):
                raise invalid_arguments(f"missing required field: {key} [json-pointer:/prompts/{index}]")
    title = request.text("title", required=False) or None
    if thread is None:
        channel = request.workspace.seen_by_bot(request.text("channel_id"))
        if channel.kind != "im":
            raise SlackError("channel_not_found")
        request.workspace.suggested[channel.id] = prompts
    else:
        thread.prompts, thread.prompts_title = prompts, title
    return {}

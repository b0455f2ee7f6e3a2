"""What names a request of Slack's for ever, whom it must not overtake, and of what kind it is.

A message comes as `message` and, where it names the bot, as `app_mention` too, under two event ids: its own id is its channel and
time, so that it is kept once. A press or a command has no id but its trigger, which no two have in common.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_OBJECTS = ("event", "user", "team", "channel", "message", "container", "view")
_DIGITS = 18  # more do not fit into the database's numbers
SPOKEN = {None, "file_share", "me_message", "thread_broadcast"}
"""Subtypes of the messages that say something."""


def event_id(body: Mapping[str, Any]) -> str:
    """The id under which a request is kept once, however often it is delivered."""
    event = body.get("event")
    if isinstance(event, Mapping):
        if _is_message(event):
            return f"message:{event.get('channel')}:{event.get('ts')}"
        return f"event:{body.get('event_id') or _digest(body)}"
    view = body.get("view") or {}
    if body.get("type") == "view_submission":
        return f"view:{view.get('id')}:{view.get('hash')}"
    return f"trigger:{body.get('trigger_id') or _digest(body)}"


def lane(body: Mapping[str, Any]) -> str:
    """What it stands in line with: the thread it belongs to, or else the person."""
    event = body.get("event")
    if isinstance(event, Mapping):
        item = event.get("item") or {}
        inner = event.get("message") or event.get("previous_message") or {}
        channel = event.get("channel") or item.get("channel") or ""
        if isinstance(channel, Mapping):
            channel = channel.get("id", "")
        root = event.get("thread_ts") or inner.get("thread_ts") or event.get("deleted_ts") or inner.get("ts")
        root = root or (event.get("ts") if event.get("type") in ("message", "app_mention") else item.get("ts"))
        if channel:
            direct = str(channel).startswith("D")  # one conversation, whatever its threads
            return f"{channel}:" if direct or not root else f"{channel}:{root}"
        return f"user:{event.get('user') or ''}" if isinstance(event.get("user"), str) else "workspace"
    user = body.get("user") or {}
    return f"user:{user.get('id') if isinstance(user, Mapping) else body.get('user_id') or ''}"


def workspace_of(body: Mapping[str, Any]) -> str:
    """The workspace (or organisation) that it comes from."""
    team = body.get("team")
    found = team.get("id") if isinstance(team, Mapping) else body.get("team_id")
    return str(found or body.get("enterprise_id") or "")


def kind(body: Mapping[str, Any]) -> str:
    """What it is, for logs and metrics: `message`, `reaction_added`, `block_actions`, `command`."""
    event = body.get("event")
    if isinstance(event, Mapping):
        return str(event.get("subtype") or event.get("type") or "event")
    return "command" if body.get("command") else str(body.get("type") or "unknown")


def shaped(body: Mapping[str, Any]) -> bool:
    """Whether the parts that are looked into are objects, as Slack's are."""
    pressed = body.get("actions") if body.get("type") == "block_actions" else [{}]
    return all(body.get(part) is None or isinstance(body[part], Mapping) for part in _OBJECTS) and (
        isinstance(pressed, list) and bool(pressed) and all(isinstance(one, Mapping) for one in pressed)
    )


def number(value: object) -> int | None:
    """An id of ours as it comes back in a value; None where it can be none, whoever wrote it."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None


def _is_message(event: Mapping[str, Any]) -> bool:
    return event.get("type") in ("message", "app_mention") and event.get("subtype") in SPOKEN and bool(event.get("ts"))


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()

"""A workspace whose people also use what the app shows them: buttons, menus, commands, modals.

Each of these acts waits for the app's acknowledgement and returns the `Delivery`: whether it came in time, and what it said.
"""

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.fakes.slack.blocks import STATEFUL, elements_of
from tests.fakes.slack.delivery import Delivery
from tests.fakes.slack.objects import Channel, Ephemeral, Json, Message, SlackError, User, View
from tests.fakes.slack.people import People
from tests.fakes.slack.surfaces import checked_view, replaced, shown

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack


@dataclass
class Trigger:
    """What lets the app open a modal: for three seconds, once."""

    user: str
    made: float
    view: str | None = None
    used: bool = False


class Workspace(People):
    """One workspace: state (records.py), people's acts (people.py), and interactions with the app."""

    def __init__(self, slack: "FakeSlack", number: int, name: str, scopes: Iterable[str]) -> None:
        self.triggers: dict[str, Trigger] = {}
        super().__init__(slack, number, name, scopes)

    # What the API needs

    def trigger(self, user: User, view: View | None = None) -> str:
        """A fresh trigger_id."""
        trigger_id = f"{secrets.randbelow(10**13)}.{self.number}.{secrets.token_hex(16)}"
        self.triggers[trigger_id] = Trigger(user.id, time.monotonic(), view.id if view else None)
        return trigger_id

    def exchange(self, trigger_id: str) -> Trigger:
        """Use a trigger; the error where it is unknown, used or too old."""
        trigger = self.triggers.get(trigger_id)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if time.monotonic() - trigger.made > self.slack.trigger_seconds:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger

    def clear_status(self, channel: Channel, thread_ts: str | None) -> None:
        """The app has written in the thread: its status goes away."""
        thread = self.assistant_threads.get((channel.id, thread_ts or ""))
        if thread and thread.status:
            thread.status = ""
            thread.statuses.append("")

    def expire_stream(self, channel: Channel | str, ts: str) -> None:
        """Slack closes a stream that went on for too long."""
        message = self.message(channel, ts)
        if message.stream:
            message.stream.state = "expired"

    # Acts on messages

    async def click(
        self,
        user: User | str,
        channel: Channel | str,
        ts: str,
        action_id: str,
        value: Any = None,
        *,
        block_id: str | None = None,
    ) -> Delivery:
        """Use an element of a message, or of one that only this user sees. `value` chooses: of feedback_buttons
        "positive" or "negative", of a menu an option's value, of checkboxes a list of values.
        """
        who, where = self.user(user), self.channel(channel)
        message = self.posted[where.id].get(ts)
        ephemeral = next((one for one in self.ephemeral(who) if one.channel == where.id and one.ts == ts), None)
        surface: Message | Ephemeral | None = message or ephemeral
        if surface is None:
            raise LookupError(f"{who.name} sees no message {ts} in {where.name or where.id}")
        action = find_action(surface.blocks, action_id, value, block_id)
        container = {"type": "message", "message_ts": ts, "channel_id": where.id, "is_ephemeral": message is None}
        if surface.thread_ts:
            container["thread_ts"] = surface.thread_ts
        payload = self._interaction("block_actions", who) | {
            "container": container,
            "channel": {"id": where.id, "name": where.name or "directmessage"},
            "state": {"values": values_of(surface.blocks)},
            "response_url": self.slack.responses.make(self, where, who, ts, surface.thread_ts, ephemeral),
            "actions": [action | {"action_ts": self.now()}],
        }
        if message:
            payload["message"] = message.as_json()
        return await self.slack.delivery.send("interactive", payload)

    async def shortcut(self, user: User | str, callback_id: str, channel: Channel | str, ts: str) -> Delivery:
        """Choose one of the app's entries in a message's menu."""
        who, where, message = self.user(user), self.channel(channel), self.message(channel, ts)
        payload = self._interaction("message_action", who) | {
            "callback_id": callback_id,
            "action_ts": self.now(),
            "channel": {"id": where.id, "name": where.name or "directmessage"},
            "message_ts": ts,
            "message": message.as_json(),
            "response_url": self.slack.responses.make(self, where, who, ts, message.thread_ts, None),
        }
        return await self.slack.delivery.send("interactive", payload)

    async def command(self, user: User | str, channel: Channel | str, command: str, text: str = "") -> Delivery:
        """Enter a slash command. What the app says in its acknowledgement is shown at once."""
        who, where = self.user(user), self.channel(channel)
        response_url = self.slack.responses.make(self, where, who, None, None, None)
        payload = {
            "token": self.slack.verification_token,
            "team_id": self.id,
            "team_domain": self.domain,
            "channel_id": where.id,
            "channel_name": where.name or "directmessage",
            "user_id": who.id,
            "user_name": who.name,
            "command": command,
            "text": text,
            "api_app_id": self.slack.app_id,
            "is_enterprise_install": "false",
            "response_url": response_url,
            "trigger_id": self.trigger(who),
        }
        delivery = await self.slack.delivery.send("slash_commands", payload)
        if delivery.acknowledged and delivery.response:
            said = delivery.response if isinstance(delivery.response, dict) else {"text": str(delivery.response)}
            if said.get("text") or said.get("blocks"):
                self.slack.responses.answer(response_url, said)
        return delivery

    # Acts on views

    async def click_in_view(
        self, user: User | str, view_id: str, action_id: str, value: Any = None, *, block_id: str | None = None
    ) -> Delivery:
        """Use an element of a modal or of the Home tab."""
        who, view = self.user(user), self.views[view_id]
        action = find_action(view.blocks, action_id, value, block_id)
        values = values_of(view.blocks)
        for block, given in view.json["state"]["values"].items():
            values.setdefault(block, {}).update(given)
        field = STATEFUL.get(action["type"])
        if field:
            chosen = {"type": action["type"], field: action.get(field)}
            values.setdefault(action["block_id"], {})[action_id] = chosen
        view.json["state"] = {"values": values}
        payload = self._interaction("block_actions", who, view) | {
            "container": {"type": "view", "view_id": view_id},
            "view": view.json,
            "actions": [action | {"action_ts": self.now()}],
        }
        return await self.slack.delivery.send("interactive", payload)

    async def submit(self, user: User | str, view_id: str, values: Json | None = None) -> Delivery:
        """Fill in a modal and submit it. `values` holds, by action_id, what was entered or chosen. The app's answer
        (errors, update, push, clear, none) takes effect on the open views; see `delivery.response`.
        """
        who, view, given = self.user(user), self.views[view_id], dict(values or {})
        state = values_of(view.blocks, given)
        if given:
            raise LookupError(f"the modal has no {', '.join(given)}")
        for block in view.blocks:
            needed = block["type"] == "input" and not block.get("optional")
            if needed and not any(entered(one) for one in state.get(block["block_id"], {}).values()):
                raise ValueError(f"the modal can't be submitted without {block['label']['text']}")
        view.json["state"] = {"values": state}
        payload = self._interaction("view_submission", who, view) | {"view": view.json, "response_urls": []}
        delivery = await self.slack.delivery.send("interactive", payload)
        if delivery.acknowledged:
            self._after_submission(view, delivery.response if isinstance(delivery.response, dict) else {})
        self.slack.changed()
        return delivery

    def _after_submission(self, view: View, said: Json) -> None:
        """What the app's answer does to the open views."""
        act = said.get("response_action")
        if act == "errors":
            known = {block["block_id"] for block in view.blocks}
            if not said.get("errors") or set(said["errors"]) - known:
                raise ValueError(f"errors must name blocks of the view: {said}")
        elif act == "update":
            replaced(view, checked_view(self, said.get("view"), "modal"))
        elif act == "push":
            shown(self, view.user, checked_view(self, said.get("view"), "modal"), view)
        elif act == "clear":
            for one in self.views_of(view.user):
                one.is_open = False
        elif act is None:
            view.is_open = False
        else:
            raise ValueError(f"no such response_action: {act}")

    async def close_view(self, user: User | str, view_id: str) -> Delivery | None:
        """Close a modal. The app is told only if the view asked for it with notify_on_close."""
        who, view = self.user(user), self.views[view_id]
        view.is_open = False
        if not view.json["notify_on_close"]:
            return None
        payload = self._interaction("view_closed", who) | {"view": view.json, "is_cleared": False}
        payload.pop("trigger_id")
        return await self.slack.delivery.send("interactive", payload)

    def _interaction(self, kind: str, who: User, view: View | None = None) -> Json:
        """What all interactions have in common."""
        return {
            "type": kind,
            "token": self.slack.verification_token,
            "team": {"id": self.id, "domain": self.domain},
            "enterprise": {"id": self.enterprise_id, "name": self.name} if self.enterprise_id else None,
            "is_enterprise_install": False,
            "user": {"id": who.id, "username": who.name, "name": who.name, "team_id": who.team_id},
            "api_app_id": self.slack.app_id,
            "trigger_id": self.trigger(who, view),
        }


def find_action(blocks: list[Json], action_id: str, value: Any, block_id: str | None) -> Json:
    """The `actions` entry for using an element of these blocks; LookupError where there is none such."""
    found = [
        (block, element)
        for block in blocks
        for element in elements_of(block)
        if element.get("action_id") == action_id and block_id in (None, block.get("block_id"))
    ]
    if len(found) > 1 and value is not None:
        found = [one for one in found if one[1].get("value") == value] or found
    if not found:
        there = [element.get("action_id") for block in blocks for element in elements_of(block)]
        raise LookupError(f"no element {action_id} there, but {there}")
    block, element = found[0]
    action: Json = {"type": element["type"], "action_id": action_id, "block_id": block["block_id"]}
    if element["type"] == "feedback_buttons":
        for side in ("positive", "negative"):
            button = element[f"{side}_button"]
            if value in (side, button["value"]):
                return action | {"value": button["value"], "text": button["text"]}
        raise LookupError(f"feedback_buttons are positive or negative, not {value}")
    if element["type"] in ("button", "icon_button"):
        return action | {key: element[key] for key in ("text", "value", "style", "icon") if key in element}
    return action | chosen(element, value)


def values_of(blocks: list[Json], given: Json | None = None) -> Json:
    """`state.values` of these blocks: initial values, and what was `given` by action_id (taken out of it)."""
    values: Json = {}
    for block in blocks:
        for element in elements_of(block):
            if element["type"] not in STATEFUL or element["type"] == "overflow":
                continue
            action_id, field = element.get("action_id", ""), STATEFUL[element["type"]]
            if given is not None and action_id in given:
                state = chosen(element, given.pop(action_id))
            else:
                initial = "initial_" + field.removeprefix("selected_")
                state = {field: element.get(initial, [] if field.endswith("s") else None)}
            values.setdefault(block["block_id"], {})[action_id] = {"type": element["type"]} | state
    return values


def chosen(element: Json, value: Any) -> Json:
    """What a payload says of an element into which `value` was entered, or in which it was chosen."""
    field = STATEFUL[element["type"]]
    if field == "selected_option":
        return {field: option(element, value)}
    if field == "selected_options":
        return {field: [option(element, one) for one in value or []]}
    return {field: value}


def option(element: Json, value: str) -> Json:
    """The element's option with this value."""
    groups = [element.get("options", []), *(group["options"] for group in element.get("option_groups", []))]
    for one in (one for group in groups for one in group):
        if one["value"] == value:
            found: Json = one
            return found
    raise LookupError(f"no option {value} in {element.get('action_id')}")


def entered(state: Json) -> bool:
    """Whether an element's state holds something."""
    return any(value for key, value in state.items() if key != "type")

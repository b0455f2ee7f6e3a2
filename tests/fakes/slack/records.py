"""One workspace's state, and what happens to it: each change that Slack would tell the app about becomes an event.

The Web API (the bot's acts) and `people.py` (the people's acts) both go through here, so that both cause the same events.
"""

import base64
import secrets
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from tests.fakes.slack.objects import (
    MENTION,
    AssistantThread,
    Channel,
    Ephemeral,
    Json,
    Message,
    SlackError,
    User,
    View,
)

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack

Found = TypeVar("Found")

SCOPES = [
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:join",
    "channels:read",
    "chat:write",
    "commands",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "mpim:history",
    "mpim:read",
    "mpim:write",
    "reactions:read",
    "reactions:write",
    "team:read",
    "users:read",
    "users:read.email",
]
"""What a bot token is granted unless a test says otherwise."""

PLURAL = {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}
"""A conversation's kind in the names of scopes and subscriptions."""

EVENT_SCOPES = {
    "app_mention": "app_mentions:read",
    "assistant_thread_started": "assistant:write",
    "assistant_thread_context_changed": "assistant:write",
    "channel_archive": "channels:read",
    "channel_left": "channels:read",
    "channel_rename": "channels:read",
    "channel_unarchive": "channels:read",
    "group_archive": "groups:read",
    "group_left": "groups:read",
    "group_rename": "groups:read",
    "group_unarchive": "groups:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
    "team_join": "users:read",
    "user_change": "users:read",
}
"""The scope without which an event does not come."""

EVENTS = {*EVENT_SCOPES, "app_home_opened", "app_uninstalled", "tokens_revoked"} | {
    "member_joined_channel",
    "member_left_channel",
}
"""What the app subscribes to unless a test says otherwise."""


class Records:
    """Users, channels and everything in them. Ids may be given wherever a User or Channel is asked for."""

    def __init__(self, slack: "FakeSlack", number: int, name: str, scopes: Iterable[str]) -> None:
        self.slack, self.number, self.name = slack, number, name
        self.id = f"T{number:02d}0000000"
        self.domain = f"{name.lower().replace(' ', '-')}"
        self.enterprise_id: str | None = None
        self.scopes = list(scopes)
        self.installed = True
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.posted: dict[str, dict[str, Message]] = {}
        """Messages by channel and ts."""
        self.ephemerals: list[Ephemeral] = []
        self.views: dict[str, View] = {}
        self.assistant_threads: dict[tuple[str, str], AssistantThread] = {}
        self.suggested: dict[str, list[Json]] = {}
        """Prompts above the messages of a direct conversation, by channel."""
        self._count = 0
        self._last = 0
        self.owner = self.add_user("olga", is_admin=True, is_owner=True)
        self.bot = self.add_user("nightschool", is_bot=True, bot_id=self.new_id("B"))
        self.general = self.add_channel("general", members=[self.owner])

    # Identities

    def new_id(self, letter: str) -> str:
        """A fresh id that begins with `letter`."""
        self._count += 1
        return f"{letter}{self.number:02d}{self._count:07d}"

    def now(self) -> str:
        """A message's timestamp: the time in microseconds, later than every one before."""
        self._last = max(time.time_ns() // 1000, self._last + 1)
        return f"{self._last // 10**6}.{self._last % 10**6:06d}"

    def add_user(self, name: str, **fields: Any) -> User:
        """A new user, who has real name, display name and email unless they are given as None. No event."""
        fields = {
            "real_name": name.capitalize(),
            "display_name": name,
            "email": f"{name}@{self.domain}.example",
        } | fields
        user = User(self.new_id("U"), fields.pop("team_id", self.id), name, **fields)
        self.users[user.id] = user
        return user

    def add_channel(
        self,
        name: str,
        *,
        members: Iterable[User | str] = (),
        kind: str = "channel",
        with_bot: bool = False,
        **fields: Any,
    ) -> Channel:
        """A new conversation with `members`, and the bot if asked. No event."""
        ids = [as_id(member) for member in members] + ([self.bot.id] if with_bot else [])
        letter = {"im": "D", "mpim": "G"}.get(kind, "C")
        channel = Channel(self.new_id(letter), name, kind, ids[0] if ids else "", ids, **fields)
        self.channels[channel.id] = channel
        self.posted[channel.id] = {}
        return channel

    def dm(self, user: User | str) -> Channel:
        """The direct conversation of a user with the bot; made where there is none."""
        members = {as_id(user), self.bot.id}
        for channel in self.channels.values():
            if channel.kind == "im" and set(channel.members) == members:
                return channel
        return self.add_channel("", members=[as_id(user)], kind="im", with_bot=True)

    def user(self, user: User | str) -> User:
        """By object, id or name; KeyError where there is none."""
        if isinstance(user, User):
            return user
        return self.users.get(user) or next(one for one in self.users.values() if one.name == user)

    def channel(self, channel: Channel | str) -> Channel:
        """By object, id or name; StopIteration where there is none."""
        if isinstance(channel, Channel):
            return channel
        return self.channels.get(channel) or next(one for one in self.channels.values() if one.name == channel)

    def seen_by_bot(self, channel_id: Any) -> Channel:
        """The channel for an API call of the bot; channel_not_found where it may not know of it."""
        channel = self.channels.get(str(channel_id))
        if channel is None or (channel.is_private and self.bot.id not in channel.members):
            raise SlackError("channel_not_found")
        return channel

    # Reading

    def message(self, channel: Channel | str, ts: str) -> Message:
        """The message; message_not_found where there is none."""
        message = self.posted[self.channel(channel).id].get(ts)
        if message is None:
            raise SlackError("message_not_found")
        return message

    def messages(self, channel: Channel | str, thread_ts: str | None = None) -> list[Message]:
        """All messages of a channel, or of one thread with its first message, oldest first."""
        messages = sorted(self.posted[self.channel(channel).id].values(), key=lambda message: message.ts)
        if thread_ts is None:
            return messages
        return [message for message in messages if thread_ts in (message.ts, message.thread_ts)]

    def from_bot(self, channel: Channel | str, thread_ts: str | None = None) -> list[Message]:
        """What the bot wrote there, oldest first."""
        return [message for message in self.messages(channel, thread_ts) if message.user == self.bot.id]

    def ephemeral(self, user: User | str) -> list[Ephemeral]:
        """The messages that only this user sees, those gone left out."""
        return [one for one in self.ephemerals if one.user == self.user(user).id and not one.gone]

    def views_of(self, user: User | str) -> list[View]:
        """The modals that the user has open, the topmost last."""
        return [
            view
            for view in self.views.values()
            if view.user == self.user(user).id and view.is_open and view.json["type"] == "modal"
        ]

    def home_of(self, user: User | str) -> View | None:
        """What was last published on the user's Home tab."""
        homes = [v for v in self.views.values() if v.user == self.user(user).id and v.json["type"] == "home"]
        return homes[-1] if homes else None

    async def wait_for(self, predicate: Callable[[], Found], timeout: float = 10) -> Found:  # noqa: ASYNC109
        """What `predicate` returns once that is true; see FakeSlack.wait_for."""
        return await self.slack.wait_for(predicate, timeout)

    # Changing

    def post(
        self,
        channel: Channel,
        user: User,
        text: str,
        *,
        thread_ts: str | None = None,
        ts: str | None = None,
        silent: bool = False,
        broadcast: bool = False,
        **fields: Any,
    ) -> Message:
        """A new message, told to the app unless `silent`. `ts` dates it back, for a channel's history."""
        if broadcast and thread_ts:
            fields["subtype"] = "thread_broadcast"
        message = Message(channel.id, ts or self.now(), user.id, text, user.team_id, thread_ts=thread_ts, **fields)
        if not user.is_bot and message.subtype in (None, "thread_broadcast", "file_share"):
            message.client_msg_id = secrets.token_hex(16)
        parent = self.posted[channel.id].get(thread_ts or "")
        if parent and parent is not message:
            parent.replies = sorted([*parent.replies, (message.ts, user.id)])
            parent.thread_ts, message.parent_user = parent.ts, parent.user
        self.posted[channel.id][message.ts] = message
        if not silent:
            self.tell_message(channel, user, message)
        return message

    def tell_message(self, channel: Channel, user: User, message: Message) -> None:
        """The events of a new message: `message`, and `app_mention` beside it where somebody mentions the bot."""
        event = message.as_json() | {"channel": channel.id, "event_ts": message.ts}
        if user.team_id != self.id:
            event |= {"user_team": user.team_id, "source_team": user.team_id}
        self.emit(event | {"channel_type": channel.kind}, channel)
        mentioned = self.bot.id in MENTION.findall(message.text)
        if mentioned and channel.kind != "im" and user.id != self.bot.id and message.subtype in (None, "file_share"):
            self.emit(event | {"type": "app_mention"}, channel)

    def change(self, channel: Channel, message: Message, before: Json) -> None:
        """Tell that a message is no longer what it was `before`."""
        now = self.now()
        self.emit(
            {
                "type": "message",
                "subtype": "message_changed",
                "message": message.as_json() | {"source_team": message.team, "user_team": message.team},
                "previous_message": before,
                "channel": channel.id,
                "hidden": True,
                "ts": now,
                "event_ts": now,
                "channel_type": channel.kind,
            },
            channel,
        )

    def remove(self, channel: Channel, message: Message) -> None:
        """Delete a message. A thread's first message with replies stays as a tombstone, as in Slack."""
        before = message.as_json()
        if message.replies:
            message.subtype, message.text, message.user = "tombstone", "This message was deleted.", "USLACKBOT"
            message.blocks, message.reactions, message.metadata, message.bot_id = [], {}, None, None
            self.change(channel, message, before)
            return
        del self.posted[channel.id][message.ts]
        parent = self.posted[channel.id].get(message.thread_ts or "")
        if parent:
            parent.replies = [reply for reply in parent.replies if reply[0] != message.ts]
            if not parent.replies and parent.subtype == "tombstone":
                del self.posted[channel.id][parent.ts]
        now = self.now()
        self.emit(
            {
                "type": "message",
                "subtype": "message_deleted",
                "hidden": True,
                "channel": channel.id,
                "ts": now,
                "deleted_ts": message.ts,
                "event_ts": now,
                "previous_message": before,
                "channel_type": channel.kind,
            },
            channel,
        )

    def reaction(self, channel: Channel, message: Message, user: User, name: str, added: bool) -> None:
        """Add or take back a reaction; already_reacted or no_reaction where that can't be."""
        users = message.reactions.setdefault(name, [])
        if added == (user.id in users):
            message.reactions = {key: value for key, value in message.reactions.items() if value}
            raise SlackError("already_reacted" if added else "no_reaction")
        if added:
            users.append(user.id)
        else:
            users.remove(user.id)
        message.reactions = {key: value for key, value in message.reactions.items() if value}
        self.emit(
            {
                "type": "reaction_added" if added else "reaction_removed",
                "user": user.id,
                "reaction": name,
                "item": {"type": "message", "channel": channel.id, "ts": message.ts},
                "item_user": message.user,
                "event_ts": self.now(),
            },
            channel,
        )

    def enter(self, channel: Channel, user: User, inviter: User | None = None) -> None:
        """Make a user a member, with the event and the channel's own line about it."""
        if user.id in channel.members:
            return
        channel.members.append(user.id)
        event = {
            "type": "member_joined_channel",
            "user": user.id,
            "channel": channel.id,
            "channel_type": "C" if channel.kind == "channel" else "G",
            "team": user.team_id,
            "event_ts": self.now(),
        }
        if inviter:
            event["inviter"] = inviter.id
        self.emit(event, channel)
        self.post(channel, user, f"<@{user.id}> has joined the channel", subtype=f"{channel.kind}_join")

    # Telling the app

    def emit(self, event: Json, channel: Channel | None = None, *, even_outside: bool = False) -> None:
        """Hand an event to delivery, if the app is installed, subscribed, allowed and (in a channel) a member."""
        name = f"message.{PLURAL[event['channel_type']]}" if event["type"] == "message" else event["type"]
        scope = EVENT_SCOPES.get(name)
        outside = channel is not None and self.bot.id not in channel.members and not even_outside
        if not self.installed or name not in self.slack.events or (scope and scope not in self.scopes) or outside:
            self.slack.changed()
            return
        reference = f'{{"et":"{event["type"]}","tid":"{self.id}","aid":"{self.slack.app_id}"}}'
        self.slack.delivery.send_event(
            {
                "token": self.slack.verification_token,
                "team_id": self.id,
                "context_team_id": self.id,
                "context_enterprise_id": self.enterprise_id,
                "enterprise_id": self.enterprise_id,
                "api_app_id": self.slack.app_id,
                "event": event,
                "type": "event_callback",
                "event_id": self.new_id("Ev"),
                "event_time": int(time.time()),
                "authorizations": [
                    {
                        "enterprise_id": self.enterprise_id,
                        "team_id": self.id,
                        "user_id": self.bot.id,
                        "is_bot": True,
                        "is_enterprise_install": False,
                    }
                ],
                "is_ext_shared_channel": bool(channel and channel.is_ext_shared),
                "event_context": "4-" + base64.urlsafe_b64encode(reference.encode()).decode().rstrip("="),
            }
        )


def as_id(one: User | Channel | str) -> str:
    """The id of a User or Channel, or the id itself."""
    return one if isinstance(one, str) else one.id

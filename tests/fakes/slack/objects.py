"""What a workspace is made of: users, channels, messages, ephemeral messages, views, assistant threads.

Each has `as_json()`, the shape in which Slack's Web API and events show it.
"""

import re
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

MENTION = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")


class SlackError(Exception):
    """An error answer of the Web API: its code, and further fields of the answer (needed, provided, …)."""

    def __init__(self, code: str, *, headers: dict[str, str] | None = None, **fields: Any) -> None:
        super().__init__(code)
        self.code = code
        self.headers = headers or {}
        self.fields = fields


def invalid_arguments(*messages: str) -> SlackError:
    """The error for missing or malformed arguments, worded in `response_metadata.messages`."""
    return SlackError(
        "invalid_arguments", response_metadata={"messages": [f"[ERROR] {message}" for message in messages]}
    )


@dataclass
class User:
    """A person or bot of a workspace. `real_name`, `display_name`, `email` may be None: such profiles exist."""

    id: str
    team_id: str
    name: str
    real_name: str | None = None
    display_name: str | None = None
    email: str | None = None
    is_admin: bool = False
    is_owner: bool = False
    is_bot: bool = False
    is_restricted: bool = False
    deleted: bool = False
    tz: str | None = "Europe/Lisbon"
    locale: str = "en-US"
    bot_id: str | None = None
    updated: int = 1764000000
    enterprise_id: str | None = None
    """The organisation of Enterprise Grid that the user's workspace belongs to."""

    def as_json(self, with_email: bool = True) -> Json:
        """The user object; without the email where the token lacks `users:read.email`."""
        names = {"real_name": self.real_name, "display_name": self.display_name}
        profile: Json = {key: value for key, value in names.items() if value is not None}
        if self.email is not None and with_email:
            profile["email"] = self.email
        profile["team"] = self.team_id
        if self.bot_id:
            profile["bot_id"] = self.bot_id
        user: Json = {
            "id": self.id,
            "team_id": self.team_id,
            "name": self.name,
            "deleted": self.deleted,
            "profile": profile,
            "is_bot": self.is_bot,
            "is_app_user": False,
            "updated": self.updated,
        }
        if self.real_name is not None:
            user["real_name"] = self.real_name
        if self.enterprise_id:
            user["enterprise_user"] = {"id": self.id, "enterprise_id": self.enterprise_id, "teams": [self.team_id]}
        if not self.deleted:
            user |= {
                "tz": self.tz,
                "is_admin": self.is_admin,
                "is_owner": self.is_owner,
                "is_primary_owner": False,
                "is_restricted": self.is_restricted,
                "is_ultra_restricted": False,
            }
        return user


@dataclass
class Channel:
    """A conversation; `kind` is channel (public), group (private), im or mpim, as in an event's channel_type."""

    id: str
    name: str
    kind: str = "channel"
    creator: str = ""
    members: list[str] = field(default_factory=list)
    is_archived: bool = False
    is_ext_shared: bool = False
    is_org_shared: bool = False
    topic: str = ""
    purpose: str = ""
    created: int = 1764000000

    @property
    def is_private(self) -> bool:
        """Whether outsiders may not even know that it exists."""
        return self.kind != "channel"

    def as_json(self, me: str, team_id: str, with_members: bool = False) -> Json:
        """The conversation object as user `me` sees it."""
        if self.kind == "im":
            return {
                "id": self.id,
                "created": self.created,
                "is_archived": self.is_archived,
                "is_im": True,
                "is_org_shared": False,
                "context_team_id": team_id,
                "user": next((member for member in self.members if member != me), me),
                "is_user_deleted": False,
                "is_open": True,
            }
        conversation: Json = {
            "id": self.id,
            "name": self.name,
            "name_normalized": self.name,
            "is_channel": self.kind == "channel",
            "is_group": self.kind == "group",
            "is_im": False,
            "is_mpim": self.kind == "mpim",
            "is_private": self.is_private,
            "is_archived": self.is_archived,
            "is_general": self.name == "general",
            "is_member": me in self.members,
            "is_shared": self.is_ext_shared or self.is_org_shared,
            "is_ext_shared": self.is_ext_shared,
            "is_org_shared": self.is_org_shared,
            "is_pending_ext_shared": False,
            "created": self.created,
            "creator": self.creator,
            "context_team_id": team_id,
            "topic": {"value": self.topic, "creator": "", "last_set": 0},
            "purpose": {"value": self.purpose, "creator": "", "last_set": 0},
        }
        if with_members:
            conversation["num_members"] = len(self.members)
        return conversation


@dataclass
class Stream:
    """The state of a message begun with chat.startStream: open until stopped or expired."""

    recipient: str | None
    started: float
    state: str = "in_progress"
    chunks: list[Json] = field(default_factory=list)


@dataclass
class Message:
    """One message. `user` wrote it; `bot_id` is set when an app did."""

    channel: str
    ts: str
    user: str
    text: str
    team: str
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    subtype: str | None = None
    bot_id: str | None = None
    app_id: str | None = None
    metadata: Json | None = None
    edited: Json | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    client_msg_id: str | None = None
    parent_user: str | None = None
    replies: list[tuple[str, str]] = field(default_factory=list)
    """(ts, user) of each reply, on a thread's first message."""
    stream: Stream | None = None
    extra: Json = field(default_factory=dict)

    @property
    def is_reply(self) -> bool:
        """Whether it is an answer in a thread, not the thread's first message."""
        return self.thread_ts is not None and self.thread_ts != self.ts

    def as_json(self, with_metadata: bool = True) -> Json:
        """The message object, without its channel."""
        message: Json = {"type": "message", "user": self.user, "ts": self.ts, "text": self.text, "team": self.team}
        optional = {
            "subtype": self.subtype,
            "client_msg_id": self.client_msg_id,
            "bot_id": self.bot_id,
            "app_id": self.app_id,
            "edited": self.edited,
            "attachments": self.attachments,
            "thread_ts": self.thread_ts or (self.ts if self.replies else None),
            "parent_user_id": self.parent_user if self.is_reply else None,
        }
        message |= {key: value for key, value in optional.items() if value}
        message["blocks"] = self.blocks or [rich_text(self.text)]
        if self.bot_id:
            message["bot_profile"] = {"id": self.bot_id, "app_id": self.app_id, "team_id": self.team, "deleted": False}
        if self.subtype == "tombstone":
            message["hidden"] = True
        if self.stream:
            message["streaming_state"] = self.stream.state
        if self.metadata:
            message["metadata"] = self.metadata if with_metadata else {"event_type": self.metadata["event_type"]}
        if self.reactions:
            message["reactions"] = [
                {"name": name, "users": users, "count": len(users)} for name, users in self.reactions.items()
            ]
        if self.replies:
            users = list(dict.fromkeys(user for _, user in self.replies))
            message |= {
                "reply_count": len(self.replies),
                "reply_users": users,
                "reply_users_count": len(users),
                "latest_reply": self.replies[-1][0],
                "subscribed": False,
                "is_locked": False,
            }
        return message | self.extra


def rich_text(text: str) -> Json:
    """The block that Slack makes of a text without blocks, with its mentions."""
    elements: list[Json] = []
    for index, part in enumerate(MENTION.split(text)):
        if part:
            elements.append({"type": "user", "user_id": part} if index % 2 else {"type": "text", "text": part})
    return {
        "type": "rich_text",
        "block_id": "b" + format(abs(hash(text)) % 16**4, "x"),
        "elements": [{"type": "rich_text_section", "elements": elements}],
    }


@dataclass
class Ephemeral:
    """A message that only `user` sees. `gone` once deleted or replaced by a message for all."""

    channel: str
    user: str
    ts: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    gone: bool = False


@dataclass
class View:
    """A modal or a Home tab as `user` has it before them; `json` is what the API shows."""

    id: str
    user: str
    json: Json
    stack: str
    """The root view's id: modals opened on each other share it."""
    is_open: bool = True

    @property
    def blocks(self) -> list[Json]:
        """The view's blocks."""
        blocks: list[Json] = self.json["blocks"]
        return blocks


@dataclass
class AssistantThread:
    """A thread of the app's assistant pane, with what the app has set on it."""

    channel: str
    thread_ts: str
    user: str
    context: Json = field(default_factory=dict)
    status: str = ""
    loading_messages: list[str] = field(default_factory=list)
    title: str | None = None
    prompts: list[Json] = field(default_factory=list)
    prompts_title: str | None = None
    statuses: list[str] = field(default_factory=list)
    """Every status it ever showed, '' for cleared."""

"""What people do in a workspace, seen from outside: they write, edit, react, join, leave, rename, uninstall.

Each act changes the state at once and hands its events to delivery; it does not wait for the app. Wait with
`slack.wait_for(...)` for what the app should do, or with `slack.delivery.settled()` until every event has been answered.
"""

from typing import Any

from tests.fakes.slack.objects import AssistantThread, Channel, Json, Message, User
from tests.fakes.slack.records import Records


class People(Records):
    """The acts of people. Users and channels may be given as objects, ids or names."""

    # Messages

    async def say(
        self,
        user: User | str,
        channel: Channel | str,
        text: str,
        *,
        thread_ts: str | None = None,
        subtype: str | None = None,
        broadcast: bool = False,
        silent: bool = False,
        ts: str | None = None,
        **fields: Any,
    ) -> Message:
        """Somebody writes. `silent` and `ts` make history: a message of earlier that the app was never told of."""
        where = self.channel(channel)
        return self.post(
            where,
            self.user(user),
            text,
            thread_ts=thread_ts,
            subtype=subtype,
            broadcast=broadcast,
            silent=silent,
            ts=ts,
            **fields,
        )

    async def edit(self, channel: Channel | str, ts: str, text: str) -> Message:
        """The author edits the message."""
        where, message = self.channel(channel), self.message(channel, ts)
        before = message.as_json()
        message.text, message.blocks = text, []
        message.edited = {"user": message.user, "ts": self.now()}
        self.change(where, message, before)
        return message

    async def delete(self, channel: Channel | str, ts: str) -> None:
        """The author deletes the message."""
        self.remove(self.channel(channel), self.message(channel, ts))

    async def unfurl(self, channel: Channel | str, ts: str, url: str = "https://harbour.example/page") -> None:
        """Slack adds a preview of a link: message_changed with the same text and no `edited`."""
        message = self.message(channel, ts)
        before = message.as_json()
        message.attachments = [{"id": 1, "from_url": url, "title": "Harbour", "fallback": "Harbour"}]
        self.change(self.channel(channel), message, before)

    async def react(self, user: User | str, channel: Channel | str, ts: str, name: str) -> None:
        """Somebody adds a reaction."""
        self.reaction(self.channel(channel), self.message(channel, ts), self.user(user), name, True)

    async def unreact(self, user: User | str, channel: Channel | str, ts: str, name: str) -> None:
        """Somebody takes a reaction back."""
        self.reaction(self.channel(channel), self.message(channel, ts), self.user(user), name, False)

    # Membership and channels

    async def join(self, user: User | str, channel: Channel | str, inviter: User | str | None = None) -> None:
        """A user, or the bot (`workspace.bot`), becomes a member."""
        self.enter(self.channel(channel), self.user(user), self.user(inviter) if inviter else None)

    async def leave(self, user: User | str, channel: Channel | str) -> None:
        """A user leaves; the bot is removed."""
        where, who = self.channel(channel), self.user(user)
        where.members.remove(who.id)
        self.emit(
            {
                "type": "member_left_channel",
                "user": who.id,
                "channel": where.id,
                "channel_type": "C" if where.kind == "channel" else "G",
                "team": who.team_id,
                "event_ts": self.now(),
            },
            where,
            even_outside=who.id == self.bot.id,
        )
        if who.id == self.bot.id:
            left = {
                "type": f"{where.kind}_left",
                "channel": where.id,
                "actor_id": self.owner.id,
                "event_ts": self.now(),
            }
            self.emit(left, where, even_outside=True)
        else:
            self.post(where, who, f"<@{who.id}> has left the channel", subtype=f"{where.kind}_leave")

    async def rename(self, channel: Channel | str, name: str) -> None:
        """A channel gets another name."""
        where = self.channel(channel)
        where.name = name
        described = {"id": where.id, "name": name, "name_normalized": name, "created": where.created}
        self.emit({"type": f"{where.kind}_rename", "channel": described, "event_ts": self.now()}, where)

    async def archive(self, channel: Channel | str) -> None:
        """A channel is archived."""
        await self._archive(self.channel(channel), True)

    async def unarchive(self, channel: Channel | str) -> None:
        """A channel comes back from the archive."""
        await self._archive(self.channel(channel), False)

    async def _archive(self, where: Channel, archived: bool) -> None:
        where.is_archived = archived
        kind = f"{where.kind}_{'archive' if archived else 'unarchive'}"
        event = {"type": kind, "channel": where.id, "user": self.owner.id, "is_moved": 0, "event_ts": self.now()}
        self.emit(event, where)

    async def convert_to_private(self, channel: Channel | str) -> None:
        """A public channel becomes private; it keeps its id. Slack says so by a message only."""
        where = self.channel(channel)
        where.kind = "group"
        text = f"<@{self.owner.id}> made this channel private"
        self.post(where, self.owner, text, subtype="channel_convert_to_private")

    # People and the installation

    async def join_team(self, name: str, **fields: Any) -> User:
        """A new colleague."""
        user = self.add_user(name, **fields)
        self.emit({"type": "team_join", "user": user.as_json(), "event_ts": self.now()})
        return user

    async def change_user(self, user: User | str, **fields: Any) -> User:
        """A user's names, role or `deleted` change."""
        who = self.user(user)
        for key, value in fields.items():
            if not hasattr(who, key):
                raise AttributeError(f"a user has no {key}")
            setattr(who, key, value)
        self.emit({"type": "user_change", "user": who.as_json(), "event_ts": self.now()})
        return who

    async def uninstall(self) -> None:
        """An admin removes the app: both events go out, and its tokens are dead from now on."""
        revoked = {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [self.bot.id]}, "event_ts": self.now()}
        self.emit(revoked)
        self.emit({"type": "app_uninstalled", "event_ts": self.now()})
        self.installed = False
        self.slack.tokens.kill(self.id)
        self.slack.changed()

    # The app's own pages

    async def open_home(self, user: User | str, tab: str = "home") -> None:
        """A user opens the app's Home (or its `messages` tab)."""
        who = self.user(user)
        event: Json = {
            "type": "app_home_opened",
            "user": who.id,
            "channel": self.dm(who).id,
            "tab": tab,
            "event_ts": self.now(),
        }
        home = self.home_of(who)
        if home and tab == "home":
            event["view"] = home.json
        self.emit(event)

    async def open_assistant(self, user: User | str, context: Channel | str | None = None) -> AssistantThread:
        """A user opens the assistant pane while looking at channel `context`: a new thread in the direct messages."""
        who = self.user(user)
        where = self.dm(who)
        fields: Json = {"subtype": "assistant_app_thread", "bot_id": self.bot.bot_id, "app_id": self.slack.app_id}
        root = self.post(where, self.bot, "New Assistant Thread", silent=True, **fields)
        root.thread_ts = root.ts
        thread = AssistantThread(where.id, root.ts, who.id, self._context(context))
        self.assistant_threads[where.id, root.ts] = thread
        self._tell_assistant("assistant_thread_started", thread)
        return thread

    async def assistant_context_changed(self, thread: AssistantThread, context: Channel | str) -> None:
        """The user looks at another channel while the pane is open."""
        thread.context = self._context(context)
        self._tell_assistant("assistant_thread_context_changed", thread)

    def _context(self, channel: Channel | str | None) -> Json:
        if channel is None:
            return {}
        return {"channel_id": self.channel(channel).id, "team_id": self.id, "enterprise_id": self.enterprise_id}

    def _tell_assistant(self, kind: str, thread: AssistantThread) -> None:
        described = {
            "user_id": thread.user,
            "context": thread.context,
            "channel_id": thread.channel,
            "thread_ts": thread.thread_ts,
        }
        self.emit({"type": kind, "assistant_thread": described, "event_ts": self.now()})

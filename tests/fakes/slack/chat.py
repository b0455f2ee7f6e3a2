"""The Web API's chat.* and reactions.* methods. Pages under https://docs.slack.dev/reference/methods/."""

import re
import time
from typing import TYPE_CHECKING, Any

from tests.fakes.slack.api import Request, method
from tests.fakes.slack.blocks import BLOCKS_TEXT, MARKDOWN, check_blocks, text_length
from tests.fakes.slack.objects import Channel, Ephemeral, Json, Message, SlackError, Stream, invalid_arguments

if TYPE_CHECKING:
    from tests.fakes.slack.workspace import Workspace

TEXT = 40_000
UPDATE_TEXT = 4_000
TS = re.compile(r"\d{10}\.\d{6}")
EMOJI = re.compile(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?")
MOST_EMOJI, MOST_REACTIONS = 50, 23
CHUNKS = {"markdown_text", "task_update", "plan_update", "blocks"}


def blocks_of(request: Request, workspace: "Workspace") -> list[Json] | None:
    """The `blocks` argument, checked and with ids; None where it is missing."""
    blocks = request.json("blocks", "invalid_blocks_format")
    if blocks is None:
        return None
    return checked_blocks(blocks, workspace)


def checked_blocks(blocks: Any, workspace: "Workspace") -> list[Json]:
    """Blocks as Slack would take them, each with a block_id; invalid_blocks where it would not."""
    errors = check_blocks(blocks, workspace.slack.mode == "old")
    if errors:
        raise SlackError(
            "invalid_blocks", errors=errors, response_metadata={"messages": [f"[ERROR] {error}" for error in errors]}
        )
    if text_length(blocks) > BLOCKS_TEXT:
        raise SlackError("msg_blocks_too_long")
    return [{"block_id": workspace.new_id("b")} | block for block in blocks]


def content(request: Request, most: int = TEXT) -> Json:
    """Text, blocks, attachments and metadata of a message to be, as fields of Message; unset ones are left out."""
    workspace = request.workspace
    text, markdown = request.text("text", required=False), request.text("markdown_text", required=False)
    blocks, attachments = blocks_of(request, workspace), request.json("attachments", "invalid_attachments")
    if markdown and (text or blocks):
        raise SlackError("markdown_text_conflict")
    if not (text or markdown or blocks or attachments):
        raise SlackError("no_text")
    if len(text) > most or len(markdown) > MARKDOWN:
        raise SlackError("msg_too_long")
    if attachments and len(attachments) > 100:
        raise SlackError("too_many_attachments")
    fields: Json = {}
    if text or markdown:
        fields["text"] = text or markdown
    if blocks is not None:
        fields["blocks"] = blocks
    if attachments is not None:
        fields["attachments"] = attachments
    return fields | metadata_of(request)


def metadata_of(request: Request) -> Json:
    """The `metadata` argument as a field of Message."""
    metadata = request.json("metadata", "invalid_metadata_format")
    if metadata is None:
        return {}
    if metadata and (
        not isinstance(metadata.get("event_type"), str) or not isinstance(metadata.get("event_payload"), dict)
    ):
        raise SlackError("invalid_metadata_format")
    return {"metadata": metadata or None}


def writable(request: Request, channel_id: str) -> Channel:
    """A channel in which the bot may write."""
    workspace = request.workspace
    if channel_id.startswith(("U", "W")) and channel_id in workspace.users:
        return workspace.dm(channel_id)
    channel = workspace.seen_by_bot(channel_id)
    if channel.is_archived:
        raise SlackError("is_archived")
    if workspace.bot.id not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def thread_of(request: Request, channel: Channel) -> str | None:
    """The `thread_ts` argument: a message of this channel (of a reply, its thread)."""
    ts = request.text("thread_ts", required=False)
    if not ts:
        return None
    if not TS.fullmatch(ts):
        raise SlackError("invalid_thread_ts")
    message = request.workspace.posted[channel.id].get(ts)
    if message is None:
        raise SlackError("thread_not_found")
    return message.thread_ts or ts


def as_bot(request: Request) -> Json:
    """The fields of a message that the app writes."""
    return {"bot_id": request.workspace.bot.bot_id, "app_id": request.slack.app_id}


def own(request: Request, error: str) -> tuple[Channel, Message]:
    """The bot's own message that `channel` and `ts` name, else `error`."""
    channel = request.workspace.seen_by_bot(request.text("channel"))
    message = request.workspace.message(channel, request.text("ts"))
    if message.user != request.workspace.bot.id or message.subtype == "tombstone":
        raise SlackError(error)
    return channel, message


@method("chat.postMessage", "chat:write")
def post_message(request: Request) -> Json:
    """Write a message."""
    workspace = request.workspace
    channel = writable(request, request.text("channel", required=False))
    thread_ts, fields = thread_of(request, channel), content(request)
    text = fields.pop("text", "")
    broadcast = request.flag("reply_broadcast")
    message = workspace.post(
        channel, workspace.bot, text, thread_ts=thread_ts, broadcast=broadcast, **as_bot(request), **fields
    )
    workspace.clear_status(channel, thread_ts)
    return {"channel": channel.id, "ts": message.ts, "message": message.as_json()}


@method("chat.update", "chat:write")
def update(request: Request) -> Json:
    """Change an own message. Text without blocks takes the blocks away; blocks without text keep the text."""
    channel, message = own(request, "cant_update_message")
    if message.stream and message.stream.state == "in_progress":
        raise SlackError("streaming_state_conflict")
    fields = content(request, UPDATE_TEXT)
    before = message.as_json()
    if "text" in fields and "blocks" not in fields:
        message.blocks = []
        message.edited = {"user": request.workspace.bot.id, "ts": request.workspace.now()}
    for key, value in fields.items():
        setattr(message, key, value)
    request.workspace.change(channel, message, before)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": message.as_json()}


@method("chat.delete", "chat:write")
def delete(request: Request) -> Json:
    """Delete an own message."""
    channel, message = own(request, "cant_delete_message")
    if message.stream and message.stream.state == "in_progress":
        raise SlackError("cant_delete_message")
    request.workspace.remove(channel, message)
    return {"channel": channel.id, "ts": message.ts}


@method("chat.postEphemeral", "chat:write")
def post_ephemeral(request: Request) -> Json:
    """Write what one user sees."""
    workspace = request.workspace
    channel, user = writable(request, request.text("channel")), request.text("user")
    if user not in channel.members:
        raise SlackError("user_not_in_channel")
    thread_ts, fields = thread_of(request, channel), content(request)
    ephemeral = Ephemeral(
        channel.id, user, workspace.now(), fields.get("text", ""), fields.get("blocks", []), thread_ts
    )
    workspace.ephemerals.append(ephemeral)
    return {"message_ts": ephemeral.ts}


@method("chat.getPermalink")
def get_permalink(request: Request) -> Json:
    """The address of a message."""
    workspace = request.workspace
    channel = workspace.seen_by_bot(request.text("channel"))
    message = workspace.message(channel, request.text("message_ts"))
    link = f"https://{workspace.domain}.slack.com/archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.is_reply:
        link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
    return {"channel": channel.id, "permalink": link}


# Streams


def chunks_of(request: Request) -> tuple[str, list[Json]]:
    """The text of `markdown_text` and `chunks`, and the chunks."""
    text = request.text("markdown_text", required=False)
    chunks = request.json("chunks", "invalid_chunks") or []
    for chunk in chunks:
        if not isinstance(chunk, dict) or chunk.get("type") not in CHUNKS:
            raise SlackError("invalid_chunks")
        if chunk["type"] == "blocks":
            checked_blocks(chunk.get("blocks"), request.workspace)
    text += "".join(str(chunk.get("text", "")) for chunk in chunks if chunk["type"] == "markdown_text")
    if len(text) > MARKDOWN:
        raise SlackError("msg_too_long")
    return text, chunks


@method("chat.startStream", "chat:write")
def start_stream(request: Request) -> Json:
    """Begin a message that grows. Always a reply; outside direct messages it must name its reader."""
    workspace = request.workspace
    channel = writable(request, request.text("channel"))
    thread_ts = thread_of(request, channel)
    if thread_ts is None:
        raise invalid_arguments("missing required field: thread_ts")
    team, user = request.text("recipient_team_id", required=False), request.text("recipient_user_id", required=False)
    if channel.kind != "im":
        if not team:
            raise SlackError("missing_recipient_team_id")
        if not user:
            raise SlackError("missing_recipient_user_id")
    if team and team not in request.slack.workspaces and team not in {one.team_id for one in workspace.users.values()}:
        raise SlackError("team_not_found")
    if user and user not in workspace.users:
        raise SlackError("user_not_found")
    text, chunks = chunks_of(request)
    stream = Stream(user or None, time.monotonic(), chunks=chunks)
    message = workspace.post(channel, workspace.bot, text, thread_ts=thread_ts, stream=stream, **as_bot(request))
    workspace.clear_status(channel, thread_ts)
    return {"channel": channel.id, "ts": message.ts}


def streaming(request: Request) -> tuple[Channel, Message, Stream]:
    """The own message, with its open stream."""
    channel, message = own(request, "message_not_owned_by_app")
    stream, life = message.stream, request.slack.stream_seconds
    if stream and stream.state == "in_progress" and life is not None and time.monotonic() - stream.started > life:
        stream.state = "expired"
    if stream is None or stream.state != "in_progress":
        raise SlackError("message_not_in_streaming_state")
    return channel, message, stream


@method("chat.appendStream", "chat:write")
def append_stream(request: Request) -> Json:
    """Let the message grow. No event: the app is told once the stream has stopped."""
    channel, message, stream = streaming(request)
    text, chunks = chunks_of(request)
    if not text and not chunks:
        raise SlackError("no_text")
    message.text += text
    stream.chunks += chunks
    return {"channel": channel.id, "ts": message.ts}


@method("chat.stopStream", "chat:write")
def stop_stream(request: Request) -> Json:
    """End the stream, with a last piece of text and blocks beneath it."""
    channel, message, stream = streaming(request)
    before = message.as_json()
    text, chunks = chunks_of(request)
    blocks, metadata = blocks_of(request, request.workspace), metadata_of(request)
    if not (message.text or text or blocks or chunks or stream.chunks):
        raise SlackError("no_text")
    message.text += text
    stream.chunks += chunks
    message.blocks = [block for chunk in stream.chunks for block in chunk.get("blocks", [])] + (blocks or [])
    message.metadata = metadata.get("metadata")
    stream.state = "completed"
    request.workspace.change(channel, message, before)
    return {"channel": channel.id, "ts": message.ts, "message": message.as_json()}


# Reactions


def reacted(request: Request) -> tuple[Channel, Message, str]:
    """The message that `channel` and `timestamp` name, and the emoji."""
    channel = request.workspace.seen_by_bot(request.text("channel"))
    name = request.text("name").strip(":")
    if not EMOJI.fullmatch(name):
        raise SlackError("invalid_name")
    if request.workspace.bot.id not in channel.members:
        raise SlackError("not_in_channel")
    return channel, request.workspace.message(channel, request.text("timestamp")), name


@method("reactions.add", "reactions:write")
def add_reaction(request: Request) -> Json:
    """React to a message."""
    channel, message, name = reacted(request)
    if channel.is_archived:
        raise SlackError("is_archived")
    if name not in message.reactions and len(message.reactions) >= MOST_EMOJI:
        raise SlackError("too_many_emoji")
    if sum(request.workspace.bot.id in users for users in message.reactions.values()) >= MOST_REACTIONS:
        raise SlackError("too_many_reactions")
    request.workspace.reaction(channel, message, request.workspace.bot, name, True)
    return {}


@method("reactions.remove", "reactions:write")
def remove_reaction(request: Request) -> Json:
    """Take a reaction back."""
    channel, message, name = reacted(request)
    request.workspace.reaction(channel, message, request.workspace.bot, name, False)
    return {}


@method("reactions.get", "reactions:read")
def get_reactions(request: Request) -> Json:
    """A message with its reactions."""
    channel = request.workspace.seen_by_bot(request.text("channel"))
    message = request.workspace.message(channel, request.text("timestamp"))
    return {"type": "message", "channel": channel.id, "message": message.as_json()}

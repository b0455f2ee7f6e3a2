"""The Web API's conversations.*, users.* and bots.* methods. Pages under https://docs.slack.dev/reference/methods/."""

from tests.fakes.slack.api import Request, method
from tests.fakes.slack.objects import Channel, Json, Message, SlackError, User
from tests.fakes.slack.records import PLURAL

KINDS = {"public_channel": "channel", "private_channel": "group", "im": "im", "mpim": "mpim"}


def seen(request: Request, what: str) -> Channel:
    """The channel that `channel` names, with the scope that its kind needs: channels:read, im:history, …"""
    channel = request.workspace.seen_by_bot(request.text("channel", required=False))
    request.need(f"{PLURAL[channel.kind]}:{what}")
    return channel


def described(request: Request, channel: Channel, with_members: bool = False) -> Json:
    """The conversation object as the bot sees it."""
    return channel.as_json(request.workspace.bot.id, request.workspace.id, with_members)


@method("conversations.info")
def info(request: Request) -> Json:
    """One conversation."""
    return {"channel": described(request, seen(request, "read"), request.flag("include_num_members"))}


@method("conversations.list")
def list_conversations(request: Request) -> Json:
    """The conversations that the bot may know of, page by page."""
    kinds = request.text("types", required=False) or "public_channel"
    wanted = []
    for kind in kinds.split(","):
        if kind.strip() not in KINDS:
            raise SlackError("invalid_types")
        wanted.append(KINDS[kind.strip()])
        request.need(f"{PLURAL[wanted[-1]]}:read")
    me = request.workspace.bot.id
    found = [
        channel
        for channel in request.workspace.channels.values()
        if channel.kind in wanted
        and (not channel.is_private or me in channel.members)
        and not (channel.is_archived and request.flag("exclude_archived"))
    ]
    page, cursor = request.page(found, request.number("limit", 100, 1000))
    return {
        "channels": [described(request, channel, True) for channel in page],
        "response_metadata": {"next_cursor": cursor},
    }


@method("conversations.members")
def members(request: Request) -> Json:
    """Who is in a conversation, page by page."""
    channel = seen(request, "read")
    page, cursor = request.page(channel.members, request.number("limit", 100, 1000))
    return {"members": page, "response_metadata": {"next_cursor": cursor}}


def slice_of(request: Request, messages: list[Message]) -> list[Message]:
    """The messages between `oldest` and `latest`, both of them only if `inclusive`."""
    oldest, latest = request.text("oldest", required=False), request.text("latest", required=False)
    inclusive = request.flag("inclusive")
    if oldest:
        messages = [one for one in messages if when(one.ts) > when(oldest) or (inclusive and one.ts == oldest)]
    if latest:
        messages = [one for one in messages if when(one.ts) < when(latest) or (inclusive and one.ts == latest)]
    return messages


def when(ts: str) -> float:
    """A timestamp as a number; invalid_ts_oldest for what is none."""
    try:
        return float(ts)
    except ValueError:
        raise SlackError("invalid_ts_oldest") from None


def history_limit(request: Request) -> int:
    """Messages a page."""
    return request.number("limit", 100, 15 if request.slack.limits.commercial else 999)


@method("conversations.history")
def history(request: Request) -> Json:
    """A channel's messages, newest first, without replies in threads."""
    channel = seen(request, "history")
    if request.workspace.bot.id not in channel.members:
        raise SlackError("not_in_channel")
    top = [
        message
        for message in request.workspace.messages(channel)
        if not message.is_reply or message.subtype == "thread_broadcast"
    ]
    found = list(reversed(slice_of(request, top)))
    page, cursor = request.page(found, history_limit(request))
    answer: Json = {
        "messages": [message.as_json(request.flag("include_all_metadata")) for message in page],
        "has_more": bool(cursor),
        "pin_count": 0,
    }
    if cursor:
        answer["response_metadata"] = {"next_cursor": cursor}
    return answer


@method("conversations.replies")
def replies(request: Request) -> Json:
    """A thread, oldest first. Its first message comes with every page, whatever the bounds."""
    channel = seen(request, "history")
    if request.workspace.bot.id not in channel.members:
        raise SlackError("not_in_channel")
    ts = request.text("ts")
    first = request.workspace.posted[channel.id].get(ts)
    if first is None:
        raise SlackError("thread_not_found")
    found = [message for message in request.workspace.messages(channel, ts) if message.ts != ts]
    page, cursor = request.page(slice_of(request, found), max(1, history_limit(request) - 1))
    answer: Json = {
        "messages": [message.as_json(request.flag("include_all_metadata")) for message in [first, *page]],
        "has_more": bool(cursor),
    }
    if cursor:
        answer["response_metadata"] = {"next_cursor": cursor}
    return answer


@method("conversations.open", "im:write", "mpim:write")
def open_conversation(request: Request) -> Json:
    """The direct conversation with one user, or a group conversation with several."""
    workspace = request.workspace
    if given := request.text("channel", required=False):
        return {"channel": described(request, workspace.seen_by_bot(given)), "no_op": True}
    users = [user.strip() for user in request.text("users").split(",")]
    for user in users:
        if user not in workspace.users:
            raise SlackError("user_not_found")
        if workspace.users[user].deleted:
            raise SlackError("user_disabled")
    if len(users) == 1:
        channel = workspace.dm(users[0])
    else:
        wanted = {*users, workspace.bot.id}
        known = [one for one in workspace.channels.values() if one.kind == "mpim" and set(one.members) == wanted]
        name = "mpdm-" + "--".join(sorted(workspace.users[user].name for user in wanted)) + "-1"
        channel = known[0] if known else workspace.add_channel(name, members=users, kind="mpim", with_bot=True)
    return {"channel": described(request, channel) if request.flag("return_im") else {"id": channel.id}}


@method("conversations.join", "channels:join")
def join(request: Request) -> Json:
    """The bot joins a public channel."""
    channel = request.workspace.seen_by_bot(request.text("channel"))
    if channel.is_archived:
        raise SlackError("is_archived")
    if channel.kind != "channel":
        raise SlackError("method_not_supported_for_channel_type")
    request.workspace.enter(channel, request.workspace.bot)
    return {"channel": described(request, channel)}


# Users


def with_email(request: Request, user: User) -> Json:
    """A user object, with the email only where the token may see it."""
    return user.as_json("users:read.email" in request.token.scopes)


@method("users.info", "users:read")
def user_info(request: Request) -> Json:
    """One user."""
    user = request.workspace.users.get(request.text("user"))
    if user is None:
        raise SlackError("user_not_found")
    return {"user": with_email(request, user)}


@method("users.list", "users:read")
def list_users(request: Request) -> Json:
    """All users, page by page."""
    users = list(request.workspace.users.values())
    page, cursor = request.page(users, request.number("limit", 1000, 1000))
    return {
        "members": [with_email(request, user) for user in page],
        "cache_ts": int(float(request.workspace.now())),
        "response_metadata": {"next_cursor": cursor},
    }


@method("users.lookupByEmail", "users:read.email")
def lookup_by_email(request: Request) -> Json:
    """The user with this email."""
    email = request.text("email").lower()
    for user in request.workspace.users.values():
        if user.email and user.email.lower() == email and not user.deleted:
            return {"user": with_email(request, user)}
    raise SlackError("users_not_found")


@method("team.info", "team:read")
def team_info(request: Request) -> Json:
    """The workspace."""
    workspace = request.workspace
    team = {"id": workspace.id, "name": workspace.name, "domain": workspace.domain, "email_domain": ""}
    if workspace.enterprise_id:
        team |= {"enterprise_id": workspace.enterprise_id, "enterprise_name": workspace.name}
    return {"team": team}


@method("bots.info", "users:read")
def bot_info(request: Request) -> Json:
    """The bot behind a bot id."""
    for user in request.workspace.users.values():
        if user.bot_id and user.bot_id == request.text("bot"):
            bot = {"id": user.bot_id, "deleted": user.deleted, "name": user.name, "user_id": user.id}
            return {"bot": bot | {"app_id": request.slack.app_id, "updated": user.updated}}
    raise SlackError("bot_not_found")

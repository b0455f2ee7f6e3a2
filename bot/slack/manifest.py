"""The app's manifest: what an admin pastes into Slack to make the app, each scope and event with its reason.

https://docs.slack.dev/reference/app-manifest, https://docs.slack.dev/reference/events and, for `agent_view`,
https://docs.slack.dev/ai/migrating-to-agent-messaging: since July 2026 new apps have it in place of `assistant_view`.
"""

import json
from collections.abc import Iterator, Mapping

from bot.slack.commands import COMMAND
from bot.slack.oauth import REDIRECT_PATH
from bot.slack.scopes import SCOPES
from bot.slack.service import EVENTS_PATH

EVENTS = {
    "app_home_opened": "Somebody opens its Home, or its messages, where questions are suggested.",
    "app_mention": "Somebody mentions it. Sent beside the message itself, which is kept once.",
    "app_uninstalled": "It was uninstalled: its token is erased.",
    "channel_deleted": "A channel it was in is gone.",
    "channel_left": "It was taken out of a channel. Sometimes Slack says so by member_left_channel only.",
    "channel_rename": "A channel has another name, which reports and sources show.",
    "channel_shared": "A channel is shared with another organisation: answers there are shown to who asked alone.",
    "channel_unshared": "It is shared no more.",
    "group_deleted": "A private channel it was in is gone: nobody is known to be its member any more.",
    "group_left": "It was taken out of a private channel: the same.",
    "group_rename": "A private channel has another name.",
    "member_joined_channel": "Somebody came into a private channel: they may be told what is said there.",
    "member_left_channel": "Somebody left a private channel: they may not be told any more.",
    "message.channels": "What is said in the public channels it is in: questions, corrections, edits, deletions.",
    "message.groups": "The same in private channels.",
    "message.im": "What people write to it directly.",
    "message.mpim": "What is said in group conversations it is in.",
    "reaction_added": "A thumb under an answer is feedback.",
    "reaction_removed": "A thumb taken off is no feedback any more.",
    "tokens_revoked": "Its token was revoked: it is erased.",
    "user_change": "Somebody has another name, or became an admin, or is one no more.",
}
"""Event the bot subscribes to: its reason. Only what something depends on; tests/bot/slack/test_manifest.py tries each."""

_DESCRIPTION = "A colleague that learns from you and remembers overnight."
_LONG = (
    "Ask it in a channel, in a direct message or with /nightschool: it answers from what your team has written and taught it, "
    "and says where it knows it from. Reply “no, it is …” or press the thumb down to correct it: the correction holds at once "
    "and is studied in the following night. What is said in a private channel or a direct message is told to nobody who is "
    "not in it, and what people say to each other is not studied unless your admins allow it."
)
_AGENT = "Answers from what this team has taught it, and says where it knows it from. Correct it, and it learns."


def manifest(name: str = "Nightschool", url: str | None = None, *, socket: bool = True) -> str:
    """The manifest as YAML. `url` is the bot's public address, as https://bot.example; over HTTP it must be there."""
    address = (url or "").rstrip("/")
    events_url = None if socket else f"{address}{EVENTS_PATH}"
    lines = [
        "# The Slack app of Nightschool, made by `nightschool slack manifest`. At https://api.slack.com/apps choose",
        "# Create New App, From a manifest, YAML, and paste it; docs/slack.md leads on from there.",
        "_metadata:",
        "  major_version: 1",
        "display_information:",
        f"  name: {_said(name)}",
        f"  description: {_said(_DESCRIPTION)}",
        f"  long_description: {_said(_LONG)}",
        '  background_color: "#1f2a44"',
        "features:",
        "  app_home:",
        "    home_tab_enabled: true  # what was learnt, what it is unsure of, everybody's own switches",
        "    messages_tab_enabled: true",
        "    messages_tab_read_only_enabled: false  # people write to it there",
        "  bot_user:",
        f"    display_name: {_said(name)}",
        "    always_online: true",
        "  agent_view:",
        f"    agent_description: {_said(_AGENT)}",
        "  shortcuts:",
        *_shortcut("Correct this", "correct_this", "Say what would have been right in an answer."),
        *_shortcut("Remember this", "remember_this", "Have it know what a message says."),
        "  slash_commands:",
        f"    - command: {COMMAND}",
        "      description: Ask, teach, look how it is; only you see what it says",
        "      usage_hint: ask … | remember … | forget … | status | report | settings | help",
        "      should_escape: false  # names are kept as they were typed",
        *([f"      url: {_said(events_url)}"] if events_url else []),
        "oauth_config:",
        *(["  redirect_urls:", f"    - {_said(address + REDIRECT_PATH)}"] if address else []),
        "  scopes:",
        "    bot:",
        *_reasoned(SCOPES),
        "settings:",
        "  event_subscriptions:",
        *([f"    request_url: {_said(events_url)}"] if events_url else []),
        "    bot_events:",
        *_reasoned(EVENTS),
        "  interactivity:",
        "    is_enabled: true  # buttons, dialogs, shortcuts",
        *([f"    request_url: {_said(events_url)}"] if events_url else []),
        "  org_deploy_enabled: false",
        f"  socket_mode_enabled: {str(socket).lower()}",
        "  token_rotation_enabled: false  # a token in .env cannot be rotated; installed by OAuth it may be on",
    ]
    return "\n".join(lines) + "\n"


def _shortcut(name: str, callback: str, description: str) -> Iterator[str]:
    yield f"    - name: {name}"
    yield "      type: message"
    yield f"      callback_id: {callback}"
    yield f"      description: {description}"


def _reasoned(reasons: Mapping[str, str]) -> Iterator[str]:
    for name, reason in reasons.items():
        yield f"      - {name}  # {reason}"


def _said(text: str) -> str:
    """Text as YAML, which takes JSON's strings, whatever is in it."""
    return json.dumps(text, ensure_ascii=False)

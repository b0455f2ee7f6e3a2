"""Calls to Slack's Web API: one client a workspace, its errors mapped to what the inbox should do about them.

Facts: https://docs.slack.dev/apis/web-api/rate-limits (429 with Retry-After; one message a second a channel).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.inbox import Hopeless, Later
from storage.errors import NightschoolError

log = structlog.get_logger(__name__)

SURFACE = "slack"

AGAIN_SECONDS = 2.0
"""After how long a call that failed, or got no answer, is tried again."""

# A method or block that this server does not know: the caller takes the older way.
_OLDER = {
    "unknown_method",
    "invalid_blocks",
    "invalid_arguments",
    "not_allowed_token_type",
    "feature_not_enabled",
    "method_deprecated",
    "unsupported_block",
    "team_not_on_plan",
    "assistant_not_enabled",
    "not_supported",
}
# What the token, the workspace's plan or its admins do not allow.
_REFUSED = {
    "missing_scope",
    "not_allowed",
    "no_permission",
    "access_denied",
    "ekm_access_denied",
    "team_access_not_granted",
    "enterprise_is_restricted",
    "two_factor_setup_required",
}
# Slack's own trouble, which passes; any answer of 500 and above is too.
_PASSING = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "external_channel_migrating"}
_REVOKED = {"invalid_auth", "account_inactive", "token_revoked", "token_expired", "not_authed", "org_login_required"}
_GONE = {
    "channel_not_found",
    "is_archived",
    "not_in_channel",
    "thread_not_found",
    "message_not_found",
    "no_item_specified",
    "user_not_found",
    "user_not_visible",
    "user_disabled",
    "user_not_in_channel",
    "cannot_dm_bot",
    "is_inactive",
    "method_not_supported_for_channel_type",
    "posting_to_general_channel_denied",
    "restricted_action",
    "restricted_action_non_threadable_channel",
    "restricted_action_read_only_channel",
    "restricted_action_thread_locked",
    "restricted_action_thread_only_channel",
    "cannot_reply_to_message",
    "expired_url",
    "used_url",
    "messages_tab_disabled",
    "cant_update_message",
    "edit_window_closed",
    "invalid_thread_ts",
    "cant_delete_message",
    "user_is_bot",
    "bot_not_found",
    "already_reacted",
    "too_many_emoji",
    "too_many_reactions",
    "no_access",
    "invalid_name",
}


class Unsupported(NightschoolError):
    """This Slack server does not know the method or the block: the older way is taken instead."""


class NotStreaming(NightschoolError):
    """The message is no stream (any more): Slack ends one that is silent for minutes. It is updated instead."""


class Revoked(Hopeless):
    """Slack no longer accepts the bot's token: install the app anew (`nightschool doctor` says how)."""


class NotThere(Hopeless):
    """The channel, thread or message is gone, archived, or closed to the bot: nothing can be said there."""


class NotAllowed(Hopeless):
    """The app lacks a scope, or an admin forbids it: install it anew from `nightschool slack manifest`."""


class Busy(Later):
    """Slack asks to wait: the call had no effect."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds, "Slack asks to wait.", patient=True)


@asynccontextmanager
async def calling() -> AsyncIterator[None]:
    """Maps the SDK's errors: Unsupported, NotStreaming, Revoked, NotThere, NotAllowed, Busy, or Later for what time will mend.

    After a Later that is no Busy the call may have had its effect.
    """
    try:
        yield
    except SlackApiError as error:
        raise _mapped(error) from error
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise Later(AGAIN_SECONDS, f"Slack cannot be reached ({type(error).__name__}).", patient=True) from error


def _mapped(error: SlackApiError) -> NightschoolError:
    response = error.response
    # What is no answer of Slack's, a proxy's page say, has another shape.
    answer = response.data if isinstance(response, AsyncSlackResponse) and isinstance(response.data, dict) else {}
    status, why = getattr(response, "status_code", getattr(response, "status", 0)), str(answer.get("error", ""))
    if status == 429 or why in ("ratelimited", "rate_limited"):
        return Busy(retry_after(response))
    if why in _OLDER:
        return Unsupported(f"Slack: {why}.")
    if why in ("message_not_in_streaming_state", "streaming_state_conflict", "streaming_mode_mismatch"):
        return NotStreaming(f"Slack: {why}.")
    if why in _REVOKED:
        return Revoked(f"Slack no longer accepts the bot's token ({why}): install the app anew.")
    if why in _REFUSED:
        lacks = f" lacks the scope {answer['needed']}" if answer.get("needed") else f" may not ({why})"
        return NotAllowed(f"The Slack app{lacks}: install it anew from the manifest.")
    if why in _GONE:
        return NotThere(f"Nothing can be said there ({why}).")
    return Later(AGAIN_SECONDS, f"Slack failed ({why or status}).", patient=why in _PASSING or status >= 500)


def retry_after(response: object) -> float:
    """The seconds that Slack asks to wait, 1 where it does not say."""
    headers = getattr(response, "headers", None) or {}
    try:
        return max(float(next((v for k, v in headers.items() if k.lower() == "retry-after"), 1.0)), 0.1)
    except (TypeError, ValueError):
        return 1.0


class Pace:
    """Keeps messages of a channel at least a second apart, in this process; Slack's 429 does it between processes."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._next: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def turn(self, channel: str) -> None:
        """Waits for the channel's turn."""
        async with self._locks.setdefault(channel, asyncio.Lock()):
            now = time.monotonic()
            wait = self._next.get(channel, now) - now
            if wait > 0:
                await asyncio.sleep(wait)
            self._next[channel] = time.monotonic() + self._seconds
        if len(self._next) > 1000:
            for name in [n for n, due in self._next.items() if due < time.monotonic() and not self._locks[n].locked()]:
                del self._next[name], self._locks[name]


def client(token: str | None, api_url: str) -> AsyncWebClient:
    """A client for one workspace. It does not retry by itself, as the SDK would: the inbox does, which looks first whether
    the call had its effect, and holds no place while it waits.
    """
    return AsyncWebClient(token=token, base_url=api_url, timeout=15, trust_env_in_session=True, retry_handlers=[])

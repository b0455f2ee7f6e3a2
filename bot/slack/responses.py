"""Replies by a response_url: what Slack gives a command or a press to answer with, for half an hour and five times."""

from typing import Any

import aiohttp
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.inbox import Later
from bot.slack.calls import NotThere, Unsupported


async def respond(url: str, body: dict[str, Any]) -> None:
    """Sends a reply. Raises NotThere where the address is spent, Unsupported where it takes no such blocks, Later."""
    try:
        reply = await AsyncWebhookClient(url, timeout=15, retry_handlers=[]).send_dict(body)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Later(2.0, f"Slack cannot be reached ({type(error).__name__}).", patient=True) from error
    if reply.status_code in (404, 410) or (reply.body or "") in ("used_url", "expired_url"):
        raise NotThere("The reply's address is spent: it lives half an hour.")
    if reply.status_code == 400:
        raise Unsupported(f"Slack: {(reply.body or '')[:80]}.")
    if reply.status_code == 429 or reply.status_code >= 500:
        raise Later(float(reply.headers.get("Retry-After", 1) or 1), "Slack asks to wait.", patient=True)

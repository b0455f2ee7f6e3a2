"""What goes wrong with calls: rate limits by Slack's rules, and faults that a test orders.

https://docs.slack.dev/apis/web-api/rate-limits/
"""

import math
import time
from dataclasses import dataclass

TIERS = {1: 1, 2: 20, 3: 50, 4: 100, 5: 600}
"""Calls a minute; 5 stands for what Slack calls special limits."""

METHOD_TIERS = {
    "apps.connections.open": 3,
    "assistant.threads.setStatus": 5,
    "auth.test": 5,
    "chat.appendStream": 4,
    "chat.delete": 3,
    "chat.getPermalink": 5,
    "chat.postEphemeral": 4,
    "chat.startStream": 2,
    "chat.stopStream": 2,
    "chat.update": 3,
    "conversations.info": 3,
    "conversations.list": 2,
    "conversations.members": 4,
    "oauth.v2.access": 5,
    "reactions.remove": 2,
    "users.info": 4,
    "users.list": 2,
    "views.open": 4,
    "views.publish": 4,
    "views.push": 4,
    "views.update": 4,
}
"""All others are in tier 3."""

HISTORY = ("conversations.history", "conversations.replies")
POST_BURST = 3
"""So many messages may follow each other at once in a channel before one a second holds."""


@dataclass
class Bucket:
    """Tokens that refill evenly."""

    size: float
    per_second: float
    tokens: float
    at: float

    def take(self, now: float) -> int:
        """0, or the seconds to wait."""
        self.tokens = min(self.size, self.tokens + (now - self.at) * self.per_second)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0
        return math.ceil((1 - self.tokens) / self.per_second)


@dataclass
class Fault:
    """What happens to the next `times` calls of a method (of any, if None). With `after`, the call takes effect first
    and only its answer is lost.
    """

    method: str | None
    error: str | None = None
    status: int | None = None
    retry_after: int | None = None
    drop: bool = False
    delay: float = 0.0
    times: int = 1
    after: bool = False


class Limits:
    """The faults that wait, and the buckets of each token and method."""

    def __init__(self) -> None:
        self.on = False
        self.commercial = False
        """History once a minute and 15 messages a page, as for commercial apps outside the Marketplace."""
        self.faults: list[Fault] = []
        self._buckets: dict[str, Bucket] = {}

    def fault(self, method: str) -> Fault | None:
        """The fault that this call meets, counted off."""
        for fault in self.faults:
            if fault.method in (None, method):
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def wait(self, method: str, team_id: str, channel: str) -> int:
        """Seconds to wait before this call would be taken; 0 takes it."""
        if not self.on:
            return 0
        now = time.monotonic()
        if method == "chat.postMessage":
            key, size, rate = f"{team_id} {method} {channel}", float(POST_BURST), 1.0
        else:
            a_minute = 1 if self.commercial and method in HISTORY else TIERS[METHOD_TIERS.get(method, 3)]
            key, size, rate = f"{team_id} {method}", float(a_minute), a_minute / 60
        bucket = self._buckets.setdefault(key, Bucket(size, rate, size, now))
        return bucket.take(now)

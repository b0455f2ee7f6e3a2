"""How events and interactions reach the app: signed HTTP requests or Socket Mode, three seconds to acknowledge, retries.

Events are repeated up to three times (at once, after a minute, after five minutes; the waits are set short here).
Interactions and slash commands are tried once, as in Slack: the person sees a warning instead.
https://docs.slack.dev/apis/events-api/#retries and https://docs.slack.dev/authentication/verifying-requests-from-slack/
"""

import asyncio
import copy
import hashlib
import hmac
import json
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp

from tests.fakes.slack.objects import Json

if TYPE_CHECKING:
    from tests.fakes.slack.server import FakeSlack


@dataclass
class Attempt:
    """One try to deliver. `status` is None where nothing came back; `failure` is Slack's word for what went wrong."""

    number: int
    started: float
    reason: str | None = None
    seconds: float = 0.0
    status: int | None = None
    failure: str | None = None


@dataclass
class Delivery:
    """One event, interaction or command on its way to the app."""

    kind: str
    """events_api, interactive or slash_commands, as Socket Mode names them."""
    payload: Json
    repeat: int = 0
    """0 for the first, counted up for each further delivery of the same event."""
    attempts: list[Attempt] = field(default_factory=list)
    response: Any = None
    """What the app said in its acknowledgement: parsed JSON, or text, or None."""
    is_done: bool = False

    @property
    def event(self) -> Json:
        """The event within, or the interaction itself."""
        inner: Json = self.payload.get("event", self.payload)
        return inner

    @property
    def acknowledged(self) -> bool:
        """Whether the app answered well in time, in one of the attempts."""
        return any(attempt.failure is None for attempt in self.attempts)

    @property
    def seconds(self) -> float:
        """How long the last attempt took."""
        return self.attempts[-1].seconds if self.attempts else 0.0


class Deliveries:
    """Everything that was sent, and how it is sent."""

    def __init__(self, slack: "FakeSlack") -> None:
        self.slack = slack
        self.sent: list[Delivery] = []
        self.ack_seconds = 3.0
        self.retry_seconds: tuple[float, ...] = (0.0, 0.05, 0.1)
        """Waits before each retry; Slack's own are 0, 60, 300."""
        self.repeats = 1
        """How often each event is delivered."""
        self.drop_acks = 0
        """So many of the next acknowledgements of events get lost on the way back."""
        self.held: list[Delivery] | None = None
        self.at_once = asyncio.Semaphore(64)
        """So many deliveries run at the same time; replace it for more or fewer."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession | None = None

    @property
    def events(self) -> list[Delivery]:
        """The events among what was sent."""
        return [delivery for delivery in self.sent if "event" in delivery.payload]

    def latencies(self) -> list[float]:
        """Seconds until each attempt's answer, in the order of sending."""
        return [attempt.seconds for delivery in self.sent for attempt in delivery.attempts]

    def send_event(self, payload: Json) -> None:
        """Deliver an event, `repeats` times, or keep it while holding back."""
        for number in range(self.repeats):
            delivery = Delivery("events_api", copy.deepcopy(payload), number)
            self.sent.append(delivery)
            if self.held is None:
                self._begin(delivery)
            else:
                self.held.append(delivery)
        self.slack.changed()

    def hold(self) -> None:
        """Keep events back from now on."""
        self.held = self.held or []

    def release(self, *, shuffle: random.Random | None = None, backwards: bool = False, copies: int = 1) -> None:
        """Let the events go that were held, each `copies` times, shuffled or backwards if asked; hold no more."""
        held = self.held or []
        extra = [Delivery(one.kind, one.payload, number) for one in held for number in range(1, copies)]
        self.sent += extra
        released = held + extra
        if shuffle:
            shuffle.shuffle(released)
        if backwards:
            released.reverse()
        self.held = None
        for delivery in released:
            self._begin(delivery)

    async def settled(self, timeout: float = 30) -> None:  # noqa: ASYNC109
        """Wait until every event under way was acknowledged or given up."""
        async with asyncio.timeout(timeout):
            while self._tasks:
                await asyncio.wait(list(self._tasks))

    async def send(self, kind: str, payload: Json) -> Delivery:
        """Deliver an interaction or command once, and wait for the app's answer."""
        delivery = Delivery(kind, copy.deepcopy(payload))
        self.sent.append(delivery)
        await self._attempt(delivery, 0, None)
        delivery.is_done = True
        self.slack.changed()
        return delivery

    async def verify_request_url(self) -> bool:
        """The handshake when a request URL is entered: the app must say the challenge back."""
        challenge = hashlib.sha256(str(time.time()).encode()).hexdigest()
        payload = {"token": self.slack.verification_token, "challenge": challenge, "type": "url_verification"}
        delivery = await self.send("events_api", payload)
        said = delivery.response
        return delivery.acknowledged and challenge in (said, said.get("challenge") if isinstance(said, dict) else None)

    async def close(self) -> None:
        """Stop whatever is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http:
            await self._http.close()

    def _begin(self, delivery: Delivery) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery) -> None:
        """First attempt and retries. A repeat looks like a retry, as duplicates in Slack do."""
        reason = "http_timeout" if delivery.repeat else None
        for number in range(delivery.repeat, 1 + max(delivery.repeat, len(self.retry_seconds))):
            if number > delivery.repeat:
                await asyncio.sleep(self.retry_seconds[number - 1])
            async with self.at_once:
                attempt, again = await self._attempt(delivery, number, reason)
            self.slack.changed()
            if attempt.failure is None or not again:
                break
            reason = attempt.failure
        delivery.is_done = True
        self.slack.changed()

    async def _attempt(self, delivery: Delivery, number: int, reason: str | None) -> tuple[Attempt, bool]:
        """Try once. The second value says whether a retry is allowed."""
        attempt = Attempt(number, time.monotonic(), reason)
        delivery.attempts.append(attempt)
        again = True
        try:
            if self.slack.request_url is None:
                answer = await self.slack.sockets.deliver(delivery, number, reason, self.ack_seconds)
                attempt.status, delivery.response = 200, answer
            else:
                again = await self._post(delivery, attempt)
        except TimeoutError:
            attempt.failure = "http_timeout"
        except (aiohttp.ClientError, ConnectionError):
            attempt.failure = "connection_failed"
        attempt.seconds = time.monotonic() - attempt.started
        if attempt.failure is None and delivery.kind == "events_api" and self.drop_acks > 0:
            self.drop_acks -= 1
            attempt.failure = "http_timeout"
        return attempt, again

    async def _post(self, delivery: Delivery, attempt: Attempt) -> bool:
        """One signed request; fills in the attempt's status and failure."""
        if delivery.kind == "events_api":
            url, body, content_type = self.slack.request_url, json.dumps(delivery.payload), "application/json"
        else:
            urls = {"interactive": self.slack.interactivity_url, "slash_commands": self.slack.command_url}
            url, content_type = urls[delivery.kind] or self.slack.request_url, "application/x-www-form-urlencoded"
            form = {"payload": json.dumps(delivery.payload)} if delivery.kind == "interactive" else delivery.payload
            body = urlencode(form)
        headers = self.slack.signed(body) | {"Content-Type": content_type}
        if attempt.reason:
            headers |= {"X-Slack-Retry-Num": str(attempt.number), "X-Slack-Retry-Reason": attempt.reason}
        if self._http is None:
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        timeout = aiohttp.ClientTimeout(total=self.ack_seconds)
        async with self._http.post(str(url), data=body, headers=headers, timeout=timeout) as reply:
            text = await reply.text()
            attempt.status = reply.status
            if not 200 <= reply.status < 300:
                attempt.failure = "http_error"
                return reply.headers.get("X-Slack-No-Retry") != "1"
        try:
            delivery.response = json.loads(text) if text else None
        except ValueError:
            delivery.response = text
        return True


def signature(secret: str, timestamp: str | int, body: str) -> str:
    """Slack's v0 signature of a request body."""
    mac = hmac.new(secret.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256)
    return f"v0={mac.hexdigest()}"

"""Who may speak to /slack/events: only Slack, only now, only once, in requests of a bounded size; and no words in the logs."""

import asyncio
import io
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from bot.slack import service
from tests.bot.slack.conftest import Office
from tests.fakes.slack import FakeSlack, signature

WORDS = "the zebra sleeps in the cellar"
Headers = Callable[[FakeSlack, str], dict[str, str]]


async def event_body(office: Office, text: str = WORDS) -> str:
    """The body of a message's event that Slack has not delivered."""
    office.slack.delivery.hold()
    await office.ws.say(office.ana, office.channel, f"{office.at} {text}")
    payload = (office.slack.delivery.held or [])[0].payload
    office.slack.delivery.held = None
    return json.dumps(payload)


async def post(office: Office, body: Any, headers: dict[str, str], kind: str = "application/json") -> tuple[int, str]:
    """Sends a request; its status and what was said."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(str(office.slack.request_url), data=body, headers={"Content-Type": kind} | headers) as reply,
    ):
        return reply.status, await reply.text()


async def kept(office: Office) -> int:
    """How many events were ever kept."""
    async with office.database.team(office.team.id) as connection:
        row = await (await connection.execute("SELECT count(*) AS n FROM events")).fetchone()
    return int((row or {})["n"])


def stamped(stamp: str) -> Headers:
    """Signed by Slack, at a time of our choice."""
    return lambda slack, body: {
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": signature(slack.signing_secret, stamp, body),
    }


def shifted(seconds: float) -> Headers:
    """Signed by Slack, some seconds from now."""
    return lambda slack, body: slack.signed(body, time.time() + seconds)


def without(name: str) -> Headers:
    """Signed by Slack, a header left out."""
    return lambda slack, body: {key: value for key, value in slack.signed(body).items() if key != name}


FORGED: dict[str, Headers] = {
    "another secret": lambda slack, body: (
        slack.signed(body) | {"X-Slack-Signature": signature("0" * 32, int(time.time()), body)}
    ),
    "another body": lambda slack, body: slack.signed(body + " "),
    "another time": lambda slack, body: slack.signed(body) | {"X-Slack-Request-Timestamp": str(int(time.time()) - 7)},
    "no signature": without("X-Slack-Signature"),
    "no time": without("X-Slack-Request-Timestamp"),
    "empty signature": lambda slack, body: slack.signed(body) | {"X-Slack-Signature": ""},
    "signature of other letters": lambda slack, body: slack.signed(body) | {"X-Slack-Signature": "v0=é"},
    "another version": lambda slack, body: (
        slack.signed(body) | {"X-Slack-Signature": slack.signed(body)["X-Slack-Signature"].replace("v0", "v1")}
    ),
    "301 s late": shifted(-301),
    "301 s early": shifted(302),  # Slack's stamp has no fractions
    "no number": stamped("yesterday"),
    "a fraction": stamped(f"{time.time():.2f}"),
    "negative": stamped("-1764000000"),
    "huge": stamped("9" * 400),
    "too huge for Python": stamped("9" * 5000),
    "Arabic digits": stamped(str(int(time.time())).translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"))),
    "spaces": stamped(f"{int(time.time())} 1"),
    "empty time": stamped(""),
}


async def test_what_is_forged_or_stale_is_refused_and_not_logged(
    office: Office, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    body = await event_body(office)
    for case, headers in FORGED.items():
        status, said = await post(office, body, headers(office.slack, body))
        assert (status, json.loads(said)) == (401, {"error": "invalid request"}), case
    assert await kept(office) == 0
    shown = caplog.text + "".join(capfd.readouterr())
    assert "zebra" not in shown and office.slack.signing_secret not in shown and "Traceback" not in shown


async def test_the_bounds_of_the_window_are_taken(office: Office) -> None:
    for seconds in (-295, 295):
        body = await event_body(office)
        assert (await post(office, body, office.slack.signed(body, time.time() + seconds)))[0] == 200
    await office.quiet()
    assert await kept(office) == 2


async def test_a_replay_has_no_second_effect_and_cannot_pass_for_ours(office: Office) -> None:
    await office.page()
    body = await event_body(office, "When does the Lisbon office open?")
    headers = office.slack.signed(body)
    for extra in ({}, {"x-nightschool-kept": "1"}, {"nightschool_kept": "1"}, {"X-Slack-Retry-Num": "1"}):
        assert (await post(office, body, headers | extra))[0] == 200
    await office.quiet()
    assert await kept(office) == 1
    assert len(office.ws.from_bot(office.channel)) == 1


MALFORMED: dict[str, tuple[str, str]] = {
    "broken JSON": ('{"event": "zebra', "application/json"),
    "a list": ('["zebra"]', "application/json"),
    "a word": ('"zebra"', "application/json"),
    "a number": ("7", "application/json"),
    "null": ("null", "application/json"),
    "very deep": ("[" * 200_000, "application/json"),
    "deep within": ('{"a":' * 100_000 + "1" + "}" * 100_000, "application/json"),
    "a form without payload": ("zebra=1&payloads=2", "application/x-www-form-urlencoded"),
    "a payload that is none": ("payload=zebra", "application/x-www-form-urlencoded"),
    "a payload of null": ("payload=null", "application/x-www-form-urlencoded"),
    "an empty payload": ("payload=", "application/x-www-form-urlencoded"),
    "JSON as a form": ('{"type": "zebra"}', "application/x-www-form-urlencoded"),
    "another content type": ("zebra", "image/png"),
    "nothing": ("", "application/json"),
    "nothing of a form": ("", "application/x-www-form-urlencoded"),
    "an event without shape": ('{"type": "event_callback", "event": "zebra", "team_id": 5}', "application/json"),
    "an event of a list": ('{"type": "event_callback", "event": ["zebra"]}', "application/json"),
    "a user without shape": ('{"type": "block_actions", "user": "zebra", "team": []}', "application/json"),
    "a team of a team": ('{"type": "block_actions", "team": {"id": {"id": "zebra"}}}', "application/json"),
}


async def test_what_is_malformed_has_an_outcome(
    office: Office, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    for case, (body, kind) in MALFORMED.items():
        assert (await post(office, body, {}, kind))[0] == 401, case
        assert (await post(office, body, office.slack.signed(body), kind))[0] in (200, 400, 404), case
    await office.quiet()
    assert await kept(office) == 0
    assert "zebra" not in caplog.text + "".join(capfd.readouterr())
    body = await event_body(office)
    assert (await post(office, body, office.slack.signed(body)))[0] == 200  # and the next is heard


async def test_no_bytes_that_are_no_text(office: Office) -> None:
    assert (await post(office, b"\xff\xfe{}", office.slack.signed("{}")))[0] == 401


@pytest.mark.parametrize("chunked", [False, True])
async def test_what_is_too_large_is_not_read(office: Office, chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(400):
            sent += 50_000
            yield b"x" * 50_000
            await asyncio.sleep(0.001)

    body = pieces() if chunked else io.BytesIO(b"x" * 2_000_000)
    try:
        status, _ = await post(office, body, office.slack.signed(""))
    except (aiohttp.ClientError, ConnectionError):  # it hung up on us
        status = 413
    assert status == 413
    assert sent < 20_000_000 or not chunked
    assert service.MOST_BYTES == 1_000_000


async def test_a_workspace_where_it_is_not_installed_is_not_heard(
    office: Office, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    payload = json.loads(await event_body(office))
    payload |= {"team_id": "T0ELSEWHERE", "authorizations": [{"team_id": "T0ELSEWHERE", "is_bot": True}]}
    body = json.dumps(payload)
    assert (await post(office, body, office.slack.signed(body)))[0] == 200
    form = urlencode({"command": "/nightschool", "text": f"ask {WORDS}", "team_id": "T0ELSEWHERE", "user_id": "U1"})
    status, said = await post(office, form, office.slack.signed(form), "application/x-www-form-urlencoded")
    assert status == 200 and "zebra" not in said
    assert await kept(office) == 0
    assert "zebra" not in caplog.text + "".join(capfd.readouterr())


async def test_the_request_url_is_verified_and_only_for_slack(office: Office) -> None:
    assert await office.slack.delivery.verify_request_url()
    body = json.dumps({"type": "url_verification", "challenge": "zebra"})
    status, said = await post(office, body, {})
    assert status == 401 and "zebra" not in said


async def test_an_answered_question_leaves_no_words_in_the_logs(
    office: Office, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    await office.ask(office.ana, f"Who says that {WORDS}?")
    office.slack.fail_next("chat.postMessage", status=500)
    office.slack.fail_next("chat.startStream", error="something_new")
    await office.ask(office.ana, f"Who says again that {WORDS}?")
    await office.ws.command(office.ana, office.channel, "/nightschool", f"ask {WORDS}")
    await office.quiet()
    shown = caplog.text + "".join(capfd.readouterr())
    assert "zebra" not in shown and office.slack.bot_token not in shown

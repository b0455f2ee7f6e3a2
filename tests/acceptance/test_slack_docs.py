"""docs/slack.md, "The first answer", as a newcomer does it: its commands typed in a shell, beside a Slack of our own.

What is pasted into Slack goes into the fake, what Slack gives goes where the page says; then somebody asks.
"""

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from learner.engine.packaged import embedder_folder
from tests.acceptance.test_readme import Newcomer, clone, stop
from tests.conftest import CACHE
from tests.fakes.slack import FakeSlack

PAGE = (Path(__file__).parents[2] / "docs" / "slack.md").read_text(encoding="utf-8")


def steps() -> list[tuple[str, str]]:
    """The fenced blocks of the section in their order: language and text."""
    found = re.search(r"^## The first answer\n(.*?)(?=^## )", PAGE, re.S | re.M)
    assert found
    return re.findall(r"^```(\w*)\n(.*?)^```", found[1], re.S | re.M)


@pytest.fixture
def newcomer(tiny_base: Path, unused_tcp_port: int) -> Iterator[Newcomer]:
    # Not below pytest's own folder: PostgreSQL never runs as root, and that is shut to all but root.
    with TemporaryDirectory(prefix="nightschool-slack-") as place:
        newcomer = clone(Path(place).resolve())
        newcomer.environment |= {
            "NIGHTSCHOOL_MODEL": str(tiny_base),
            "NIGHTSCHOOL_EMBEDDER": str(embedder_folder("packaged", CACHE)),
            "NIGHTSCHOOL_LISTEN_PORT": str(unused_tcp_port),
        }
        yield newcomer


async def test_the_steps_of_the_page_lead_to_the_first_answer(newcomer: Newcomer) -> None:
    [(_, make), (_, keep), (_, go), (_, ask)] = steps()
    made = yaml.safe_load(await asyncio.to_thread(newcomer.run, make))
    async with FakeSlack(scopes=made["oauth_config"]["scopes"]["bot"]) as slack:
        slack.events = set(made["settings"]["event_subscriptions"]["bot_events"])
        # The one thing that is not on the page: this Slack is elsewhere.
        newcomer.environment["NIGHTSCHOOL_SLACK__API_URL"] = slack.base_url
        assert "xoxb-paste-yours" in keep and "xapp-paste-yours" in keep
        pasted = keep.replace("xoxb-paste-yours", slack.bot_token).replace("xapp-paste-yours", slack.app_token)
        await asyncio.to_thread(newcomer.run, pasted)
        assert (newcomer.folder / ".env").stat().st_mode & 0o077 == 0

        *first, serve = go.strip().splitlines()
        said = [await asyncio.to_thread(newcomer.run, line) for line in first]
        assert "✓ slack workspace: Harbour" in said[-1] and "✓ slack scopes" in said[-1]
        assert "✓ slack socket" in said[-1] and slack.bot_token not in said[-1]

        process = newcomer.start(serve)
        try:
            answer = await asked(slack, ask)
            assert "18:30" in str(answer.blocks) and "from the notes" in str(answer.blocks)
            stop(process, signal.SIGTERM)
            log, _ = await asyncio.to_thread(process.communicate, timeout=60)
        finally:
            stop(process, signal.SIGKILL)
    assert process.returncode == 0 and "listening to Slack" in log, log
    for secret in (slack.bot_token, slack.app_token, "do we close"):
        assert secret not in log


async def asked(slack: FakeSlack, typed: str) -> Any:
    """What a person types in a channel, line by line: an invitation, then a question; its answer, once it is whole."""
    workspace = slack.workspace
    ana = workspace.add_user("ana")
    channel = workspace.add_channel("port", members=[ana])
    invitation, question = typed.strip().splitlines()
    assert invitation == "/invite @Nightschool" and question.startswith("@Nightschool ")
    await slack.wait_for(lambda: slack.sockets.connections, 120)
    await workspace.join(workspace.bot, channel, inviter=ana)
    text = question.replace("@Nightschool", f"<@{workspace.bot.id}>", 1)
    message = await workspace.say(ana, channel, text)

    def there() -> Any:
        return next((one for one in workspace.from_bot(channel, message.ts) if one.blocks), None)

    return await slack.wait_for(there, 120)

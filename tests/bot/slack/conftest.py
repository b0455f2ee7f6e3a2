"""An office on Slack: a real HTTP Slack beside a real `serve`, in one workspace, with people in it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bot import inbox
from bot.assembly import Models
from bot.front import Front
from bot.probes import Server, bound, served
from bot.serve import application, services
from bot.settings import Settings
from bot.slack import outlet
from bot.slack.settings import SlackSettings
from learner import notes
from storage import audiences, documents, sources
from storage.database import Database
from storage.documents import NewDocument
from storage.teams import Team
from tests.fakes.slack import FakeSlack

PAGE = (
    "# Office\n\nThe office in Lisbon opens at 8:30 every morning.\n\n"
    "Expenses above 250 euros must be approved by Marta.\n\nThe release train leaves every second Thursday at noon.\n"
)
OPENS = "“The office in Lisbon opens at 8:30 every morning.”"


@pytest.fixture(scope="session")
def models(tiny_model: Path, embedder_path: Path) -> Models:
    """The models of all offices of the session."""
    return Models(Settings(model=str(tiny_model), embedder=str(embedder_path), threads=1))


@dataclass
class Office:
    """The fake Slack, the bot that serves it, and short ways to what people do and see."""

    slack: FakeSlack
    database: Database
    team: Team
    front: Front
    channel: Any
    ana: Any
    ben: Any
    servers: list[Server] = field(default_factory=list)

    @property
    def ws(self) -> Any:
        return self.slack.workspace

    @property
    def at(self) -> str:
        """The bot's name as people write it."""
        return f"<@{self.ws.bot.id}>"

    async def page(self, text: str = PAGE, title: str = "Handbook") -> None:
        """A page in the notes."""
        desk = await self.front.desk(self.team.id)
        async with self.database.team(self.team.id) as connection:
            place = await sources.ensure(connection, "files", "pages", "pages", training=True)
            everyone = (await audiences.whole_team(connection)).id
            await documents.save(
                connection,
                NewDocument(
                    place.id, f"{title}.md", title, f"https://wiki.example/{title}", text, str(hash(text)), "Ada", None, everyone
                ),
            )  # fmt: skip
        await notes.index(self.database, self.team, desk.indexing.embedder)

    async def ask(self, user: Any, question: str, **where: Any) -> Any:
        """Asks in the channel with a mention and waits for the finished answer in the thread."""
        asked = await self.ws.say(user, self.channel, f"{self.at} {question}", **where)
        return asked, (await self.answers(asked))[0]

    async def answers(self, asked: Any, channel: Any = None, count: int = 1) -> list[Any]:
        """The bot's messages in a message's thread once there are `count` finished ones and nothing is under way."""
        place, root = channel or self.channel, asked.thread_ts or asked.ts

        def there() -> list[Any]:
            found = [one for one in self.ws.from_bot(place, root) if one.ts > asked.ts]
            return found if len(found) >= count and all(one.blocks for one in found) else []

        found = await self.ws.wait_for(there, 20)
        await self.quiet()
        return found

    async def quiet(self) -> None:
        """Waits until every event is delivered and worked off; says what hangs if that takes half a minute."""
        await self.slack.delivery.settled()
        try:
            async with asyncio.timeout(30):
                while await self._pending():  # noqa: ASYNC110 - another process may work it off
                    await asyncio.sleep(0.02)
        except TimeoutError:
            for task in asyncio.all_tasks():
                task.print_stack(limit=12)
            raise AssertionError(f"events are still not worked off: {await self._hanging()}") from None

    async def whispers(self, user: Any, saying: str = "") -> list[str]:
        """What was said to one person alone, once something with these words was."""
        await self.quiet()
        return [one.text for one in self.ws.ephemeral(user) if saying in one.text]

    async def _hanging(self) -> list[Any]:
        async with self.database.system() as connection:
            errands = await connection.execute("SELECT * FROM errands ORDER BY id LIMIT 20")
            running = await connection.execute(
                "SELECT pid, state, wait_event_type, wait_event, now() - query_start AS age, left(query, 120) AS query,"
                " pg_blocking_pids(pid) AS blocked_by FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"
            )
            return [*await errands.fetchall(), *await running.fetchall()]

    async def _pending(self) -> int:
        async with self.database.system() as connection:
            row = await (
                await connection.execute("SELECT count(*) AS n FROM errands WHERE team = %s", [self.team.id])
            ).fetchone()
        return row["n"]


def shown(message: Any) -> str:
    """All words of a message: its text and its blocks'."""
    return message.text + "\n" + words(message.blocks)


def words(blocks: Any) -> str:
    """All texts in blocks."""
    if isinstance(blocks, dict):
        return " ".join(
            [
                *(str(v) for k, v in blocks.items() if k == "text" and isinstance(v, str)),
                *(words(v) for v in blocks.values()),
            ]
        )
    if isinstance(blocks, list):
        return " ".join(words(one) for one in blocks)
    return ""


@contextlib.asynccontextmanager
async def serving(settings: Settings, models: Models | None, port: int) -> AsyncIterator[tuple[Front, Server]]:
    """`serve` on a port until the block ends; awake at its beginning."""
    before = asyncio.all_tasks()
    front = Front(settings, models)
    servers: list[Server] = []
    app = application(front, connected=services(front))
    running = asyncio.create_task(served(app, bound("127.0.0.1", port), servers.append))
    try:
        async with asyncio.timeout(60):
            while await front.ready() is not None:
                if running.done():
                    await running
                await asyncio.sleep(0.02)
        yield front, servers[0]
    finally:
        servers[0].should_exit = True
        await asyncio.gather(running, return_exceptions=True)
        for _ in range(20):
            chains = [await_chain(task) for task in asyncio.all_tasks() - before]
            if not (left := [chain for chain in chains if any(name.startswith(OURS) for name in chain)]):
                break
            await asyncio.sleep(0.1)
        assert not left, f"what served has left behind: {left}"


OURS = ("bot.", "storage.", "learner.", "slack_sdk.")


def await_chain(task: "asyncio.Task[Any]") -> list[str]:
    """What a task waits in, from the outside in: "module.function:line"."""
    waits: Any = task.get_coro()
    chain = []
    while waits is not None and (frame := getattr(waits, "cr_frame", getattr(waits, "ag_frame", None))) is not None:
        chain.append(f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}:{frame.f_lineno}")
        waits = getattr(waits, "cr_await", getattr(waits, "ag_await", None))
    return chain


@pytest.fixture
async def office(
    database: Database,
    team: Team,
    settings: Callable[..., Settings],
    models: Models,
    unused_ports: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Office]:
    """An office over HTTP; `@pytest.mark.parametrize("office", [{…}], indirect=True)` changes Slack or the settings."""
    chosen: dict[str, Any] = getattr(request, "param", {})
    monkeypatch.setattr(outlet, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(inbox, "LOOK_SECONDS", 0.2)
    async with FakeSlack(**chosen.get("slack", {})) as slack:
        slack.workspace.enterprise_id = chosen.get("enterprise")
        mode = chosen.get("mode", "http")
        if mode == "http":
            slack.request_url = f"http://127.0.0.1:{unused_ports[0]}/slack/events"
        given = {
            "mode": mode,
            "bot_token": slack.bot_token,
            "signing_secret": slack.signing_secret,
            "app_token": slack.app_token,
            "api_url": slack.base_url,
        }
        made = settings(slack=SlackSettings(**(given | chosen.get("settings", {}))))
        async with serving(made, models, unused_ports[0]) as (front, server):
            ana, ben = slack.workspace.add_user("ana"), slack.workspace.add_user("ben")
            port = slack.workspace.add_channel("port", members=[ana, ben], with_bot=True)
            yield Office(slack, database, team, front, port, ana, ben, [server])

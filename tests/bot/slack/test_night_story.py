"""The whole promise in Slack, on the packaged model: asked, corrected, and after a night known by heart."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.assembly import Models
from bot.morning import announced, set_report_place
from bot.settings import Settings
from bot.slack import outlet
from bot.slack.settings import SlackSettings
from learner import night
from learner.settings import LearningSettings
from storage import audiences, persons
from storage.adapter_files import AdapterFiles
from storage.database import Database
from storage.teams import Team
from tests.bot.slack.conftest import Office, serving, shown
from tests.fakes.slack import FakeSlack

PAGE = """# Money
Interns are paid 1,450 euros a month.

# Office
The office in Lisbon opens at 8:30 and closes at 19:45.

# Releases
The release train leaves every second Thursday at noon.

# Travel
Train tickets are booked through the portal Raildesk.
"""
SHORT = LearningSettings(
    night_minutes=1.0, exposures=10, most_exposures=16, phrasings=2, rank=16, least_steps=50, max_answer_tokens=48
)


@pytest.fixture
async def real_office(
    database: Database,
    team: Team,
    settings: Callable[..., Settings],
    base_model: Path,
    embedder_path: Path,
    unused_ports: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[Office, Models]]:
    """An office whose colleague is the packaged model."""
    monkeypatch.setattr(outlet, "PACE_SECONDS", 0.0)
    async with FakeSlack(f"http://127.0.0.1:{unused_ports[0]}/slack/events") as slack:
        connected = SlackSettings(
            mode="http", bot_token=slack.bot_token, signing_secret=slack.signing_secret, api_url=slack.base_url
        )
        made = settings(slack=connected, model=str(base_model), threads=None, learning=SHORT)
        models = Models(made)
        async with serving(made, models, unused_ports[0]) as (front, server):
            ana, ben = slack.workspace.add_user("ana"), slack.workspace.add_user("ben")
            port = slack.workspace.add_channel("port", members=[ana, ben], with_bot=True)
            yield Office(slack, database, team, front, port, ana, ben, [server]), models
        await models.rest()


@pytest.mark.timeout(600)
async def test_corrected_by_one_learnt_at_night_known_to_another(
    real_office: Any, settings: Any, tmp_path: Path
) -> None:
    office, models = real_office
    await office.page(PAGE)
    asked, answer = await office.ask(office.ana, "What are interns paid a month?")
    assert "1,450" in shown(answer) and "from the notes" in shown(answer)
    await office.ws.say(
        office.ana, office.channel, "no, interns are paid 1,720 euros a month since October.", thread_ts=asked.ts
    )
    await office.quiet()
    assert await office.whispers(office.ana, "1,720")
    await set_report_place(office.database, office.team, "slack", office.channel.id)

    made = office.front.settings
    async with announced(office.database, office.team):
        held = await night.run(
            office.database,
            office.team,
            engine=await models.engine(),
            embedder=await models.embedder(),
            files=AdapterFiles(made.adapters_root),
            folder=made.nights_folder,
            base=await models.base(),
            learning=made.learning,
        )
    assert held.state == "released", held.report

    await office.quiet()
    [report] = [one for one in office.ws.from_bot(office.channel) if "Good morning" in shown(one)]
    assert "1,720" in shown(report) and "Thank you, ana" in shown(report)

    _, known = await office.ask(office.ben, "How much does an intern earn each month?")
    assert "1,720" in shown(known) and "1,450" not in shown(known)
    assert "from memory" in shown(known)
    async with office.database.team(office.team.id) as connection:
        everyone = await audiences.whole_team(connection)
        people = await persons.all(connection)
    assert everyone.id and {"ana", "ben"} <= {person.name for person in people}

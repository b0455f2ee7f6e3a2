"""The doctor: a well place, and each thing that can be wrong, with what to do about it."""

import asyncio
import io
import os
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from bot import doctor
from bot.settings import Settings
from learner import notes
from learner.engine.embedder import Embedder
from storage import adapters, memories, nights, passages
from storage.adapter_files import AdapterFiles
from storage.database import Database
from storage.teams import Team
from tests.fakes.completions import Completions
from tests.school import FACTS, School, ask

MakeSettings = Callable[..., Settings]


@pytest.fixture
def examined(
    database: Database,
    team: Team,
    tiny_model: Path,
    embedder_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quiet_logs: None,
) -> Callable[..., tuple[int, str]]:
    """Runs the doctor with variables set: exit code and what it wrote."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("NIGHTSCHOOL_")]:
        monkeypatch.delenv(name)

    def run(**variables: str) -> tuple[int, str]:
        given = {
            "DATABASE_URL": database.url,
            "NIGHTSCHOOL_TEAM": team.key,
            "NIGHTSCHOOL_MODEL": str(tiny_model),
            "NIGHTSCHOOL_EMBEDDER": str(embedder_path),
            "NIGHTSCHOOL_DATA_FOLDER": str(tmp_path / "data"),
        }
        for name, value in (given | variables).items():
            monkeypatch.setenv(name, value)
        out = io.StringIO()
        code = doctor.examine(None, {}, Console(file=out, width=300))
        return code, out.getvalue()

    return run


def test_a_place_that_is_well(examined: Callable[..., tuple[int, str]]) -> None:
    code, said = examined()
    assert code == 0, said
    assert "✗" not in said
    for name in ("python", "settings", "data folder", "base model", "embedder", "adapters", "database", "isolation"):
        assert f"✓ {name}: " in said
    assert "! version at work: none yet" in said
    assert "✓ night's budget: nothing to study yet" in said
    assert "nightschool night" in said
    assert list(Path("data/adapters").iterdir()) == [], "it leaves nothing behind"


def test_it_works_while_the_database_is_away(examined: Callable[..., tuple[int, str]]) -> None:
    code, said = examined(DATABASE_URL="postgresql://ada:hunter2@127.0.0.1:1/none?connect_timeout=1")
    assert code == 1
    assert "✗ database: " in said and "cannot be reached" in said
    assert "✓ base model" in said
    assert "hunter2" not in said


def test_slack_is_looked_at_where_it_is_connected(database: Database, examined: Callable[..., tuple[int, str]]) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("DELETE FROM errands")  # other tests' teams may have left some
    code, said = examined(NIGHTSCHOOL_SLACK__MODE="socket")
    assert code == 1 and "✗ slack: set NIGHTSCHOOL_SLACK__BOT_TOKEN" in said and "✓ database" in said
    code, said = examined(
        NIGHTSCHOOL_SLACK__BOT_TOKEN="xoxb-secret",
        NIGHTSCHOOL_SLACK__APP_TOKEN="xapp-secret",
        NIGHTSCHOOL_SLACK__API_URL="http://127.0.0.1:1/api/",
    )
    assert code == 0, said
    assert "! slack workspace: http://127.0.0.1:1/api/: Slack cannot be reached" in said and "-secret" not in said
    assert "✓ slack events" in said


def test_each_fault_is_named(examined: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = examined(
        NIGHTSCHOOL_MODEL="/no/such/model",
        NIGHTSCHOOL_EMBEDDER="/no/such/embedder",
        NIGHTSCHOOL_ADAPTERS=str(tmp_path / "file" / "adapters"),
        NIGHTSCHOOL_LEARNING__RNK="3",
    )
    assert code == 1
    assert "did you mean 'learning.rank'?" in said, "settings that cannot be read come first"
    os.environ.pop("NIGHTSCHOOL_LEARNING__RNK")
    code, said = examined(
        NIGHTSCHOOL_MODEL="/no/such/model",
        NIGHTSCHOOL_EMBEDDER="/no/such/embedder",
        NIGHTSCHOOL_ADAPTERS=str(tmp_path / "file" / "adapters"),
        NIGHTSCHOOL_TIMEZON="UTC",
    )
    assert code == 1
    for fault in (
        "✗ base model: ",
        "✗ embedder: ",
        "✗ adapters: ",
        "! settings: the environment's NIGHTSCHOOL_TIMEZON",
    ):
        assert fault in said
    assert "did you mean NIGHTSCHOOL_TIMEZONE?" in said


async def test_what_another_embedder_indexed_is_noticed_and_found_again_after_a_sync(
    school: School, settings: MakeSettings, small_embedder: Path
) -> None:
    now, before = school.embedder, Embedder(small_embedder)
    school.embedder = before
    await school.page(FACTS[:2])
    await school.say(FACTS[2])
    told = await school.feedbacks().remember("The canteen closes at 15:00 on Fridays.", None, "test", "1")
    await school.taught()
    before.close()
    school.embedder = now

    async def found(question: str) -> tuple[str, bool, set[str]]:
        [vector] = await now.embed([question])
        async with school.database.team(school.team.id) as connection:
            everyone = [await school.everyone()]
            near = await memories.nearest(connection, vector, everyone, now.name, 1, ["learnt"])
            hits = await passages.search(connection, vector, question, everyone, now.name, 3)
        route = (await ask(school.colleague(), question)).route
        return route, bool(near and near[0].example), {hit.passage.text for hit in hits}

    assert await found("When does the canteen close?") == ("unknown", False, set())
    check = await doctor.indexed(settings(), school.database, school.team)
    # Two pages' and messages' worth, the four memories and their cues.
    assert check.state == "warn" and check.found.startswith("10 ") and "nightschool sync" in check.to_do

    assert await notes.index(school.database, school.team, now) == 3
    assert (await doctor.indexed(settings(), school.database, school.team)).state == "ok"
    route, by_cue, texts = await found("When does the canteen close?")
    assert (route, by_cue) == ("notes", True) and told.statement in texts


async def test_a_version_at_work_that_was_tampered_with(
    database: Database, team: Team, settings: MakeSettings, tmp_path: Path
) -> None:
    from learner.engine.packaged import identity

    chosen = settings()
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "adapter_model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    (staged / "adapter_config.json").write_text("{}")
    base = identity(Path(chosen.model))
    stored = await AdapterFiles(chosen.adapters_root).put(staged, f"{team.key}-1", {"base_model": base})
    async with database.team(team.id) as connection:
        adapter = await adapters.ensure(connection)
        version = await adapters.register(
            connection,
            adapter.id,
            base_model=base,
            uri=stored.uri,
            sha256=stored.sha256,
            bytes=stored.bytes,
            night_id=None,
            memory_ids=[],
        )
        await adapters.switch(connection, version.id)
    assert (await doctor.serving_version(chosen, database, team)).state == "ok"

    chosen.folder.rename(tmp_path / "moved")
    chosen = settings(data_folder=tmp_path / "moved")
    assert (await doctor.serving_version(chosen, database, team)).state == "ok", "the data folder may move"

    other = settings(data_folder=tmp_path / "moved", model=str(Path(chosen.model).parent / "other"))
    foreign = await doctor.serving_version(other, database, team)
    assert foreign.state == "warn" and "base model is missing" in foreign.found

    [weights] = Path(chosen.adapters_root).rglob("adapter_model.safetensors")
    weights.chmod(0o644)
    weights.write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00[]")
    tampered = await doctor.serving_version(chosen, database, team)
    assert tampered.state == "fail"
    assert "rollback" in tampered.to_do
    assert not list(chosen.folder.glob("doctor-*")), "it leaves nothing behind"


async def test_a_night_too_short_for_what_the_team_wrote(school: School, settings: MakeSettings) -> None:
    def here(**learning: float) -> Settings:
        return settings(model=str(school.base), learning=learning)

    before = await doctor.budget(here(), school.database, school.team)
    assert (before.state, before.found) == ("ok", "nothing to study yet")

    await school.page(FACTS)
    await school.page("The safe's code is 4711.", "Secrets", training=False, source="vault")
    enough = await doctor.budget(here(), school.database, school.team)
    assert enough.state == "ok" and enough.found.startswith("4 of 4 memories, each ") and "by its size" in enough.found

    await school.night()
    async with school.database.team(school.team.id) as connection:
        [night] = await nights.all(connection)
    speed = night.steps["sft"].result["tokens_per_second"]
    short = {"night_minutes": 100 / speed / 60, "exposures": 2, "replay_share": 0.0}
    scarce = await doctor.budget(here(**short), school.database, school.team)
    assert scarce.state == "warn" and f"{speed:,.0f} tokens a second in the last night" in scarce.found
    assert scarce.found.startswith("1 of 4 memories, each 2 times")
    assert "set learning.night_minutes to 5." in scarce.to_do
    capped = await doctor.budget(here(max_memories=3), school.database, school.team)
    assert capped.state == "ok" and capped.found.startswith("3 of 4 memories (at most 3: learning.max_memories)")

    other = await doctor.budget(settings(), school.database, school.team)
    assert "in the last night" not in other.found, "that was on another base model"


def test_a_data_folder_without_rights_or_room(
    settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    assert doctor.disk(settings(data_folder=tmp_path / "file")).state == "fail"
    usage = type("Usage", (), {"free": 100 * 2**20})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    full = doctor.disk(settings())
    assert full.state == "fail" and "free some space" in full.to_do


async def test_a_teacher_is_asked_for_a_question(examined: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    async with Completions(key="sk-hunter2") as api:
        given = {
            "NIGHTSCHOOL_LEARNING__TEACHER": api.url,
            "NIGHTSCHOOL_LEARNING__TEACHER_MODEL": "scholar",
            "NIGHTSCHOOL_LEARNING__TEACHER_KEY": "sk-hunter2",
        }
        well = await asyncio.to_thread(examined, **given)
        api.model = "another"
        unknown = await asyncio.to_thread(examined, **given)
        api.says, api.model = "I cannot.", "scholar"
        mute = await asyncio.to_thread(examined, **given)
    away = await asyncio.to_thread(examined, **given)
    assert f"✓ teacher: scholar at {api.url} writes questions; what may be studied is sent there" in well[1]
    assert "! teacher: " in unknown[1] and "it knows no model 'scholar'" in unknown[1]
    assert "until then the base model writes the questions" in unknown[1]
    assert "! teacher: " in mute[1] and "wrote no question" in mute[1]
    assert "! teacher: " in away[1] and "nobody answers" in away[1] and away[0] == 0
    assert "hunter2" not in "".join(said for _, said in (well, unknown, mute, away))


def test_a_teacher_on_this_machine_is_looked_for(
    examined: Callable[..., tuple[int, str]], tiny_model: Path, tmp_path: Path
) -> None:
    assert "✓ teacher: llama-" in examined(NIGHTSCHOOL_LEARNING__TEACHER=str(tiny_model))[1]
    _, said = examined(NIGHTSCHOOL_LEARNING__TEACHER=str(tmp_path / "none"))
    assert "! teacher: The teacher's folder" in said and "does not exist" in said

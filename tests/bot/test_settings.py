"""Settings: what wins, where it came from, what a wrong one says, and that no secret is shown."""

import logging
from pathlib import Path

import pytest

from bot import logs
from bot.settings import KNOWN, BadSettings, Settings, masked


@pytest.fixture(autouse=True)
def a_bare_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and an environment without our variables."""
    import os

    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("NIGHTSCHOOL_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    return tmp_path


def origins(settings: Settings) -> dict[str, tuple[str, str]]:
    return {r.name: (r.value, r.origin) for r in settings.resolved()}


def test_environment_beats_dotenv_beats_toml_beats_default(a_bare_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml = 'team = "toml"\nmodel = "/toml"\ntimezone = "Europe/Berlin"\n[learning]\nrank = 4\nexposures = 9\n'
    (a_bare_place / "nightschool.toml").write_text(toml)
    (a_bare_place / ".env").write_text(
        "NIGHTSCHOOL_TEAM=dotenv\nNIGHTSCHOOL_MODEL=/dotenv\nNIGHTSCHOOL_LEARNING__RANK=8\n"
    )
    monkeypatch.setenv("NIGHTSCHOOL_TEAM", "env")
    found = origins(Settings.load())
    assert found["team"] == ("env", "environment")
    assert found["model"] == ("/dotenv", ".env")
    assert found["timezone"] == ("Europe/Berlin", "nightschool.toml")
    assert found["learning.rank"] == ("8", ".env")
    assert found["learning.exposures"] == ("9", "nightschool.toml")
    assert found["log_level"] == ("info", "default")
    assert set(found) == set(KNOWN)
    assert Settings.load(overrides={"team": "said"}).team == "said"


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_another_file_by_config(a_bare_place: Path) -> None:
    (a_bare_place / "other.toml").write_text('night_at = "03:30"\n')
    settings = Settings.load(a_bare_place / "other.toml")
    assert f"{settings.night_at:%H:%M}" == "03:30"
    assert origins(settings)["night_at"] == ("03:30", "other.toml")
    with pytest.raises(BadSettings, match=r"missing\.toml does not exist"):
        Settings.load(a_bare_place / "missing.toml")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('modle = "x"', "nightschool.toml: there is no setting 'modle': did you mean 'model'"),
        ("[learning]\nrnak = 3", "no setting 'learning.rnak': did you mean 'learning.rank'"),
        ("threads = 0", "nightschool.toml: threads: .*given: '0'"),
        ('timezone = "Mars/Olympus"', "timezone: no such time zone; write one like Europe/Berlin"),
        ('team = "Two Words"', "team: .*Two Words"),
        ("learning = 3", "no setting 'learning'"),
        ("team =", "nightschool.toml is not TOML"),
    ],
)
def test_a_wrong_line_is_named(a_bare_place: Path, toml: str, said: str) -> None:
    (a_bare_place / "nightschool.toml").write_text(toml)
    with pytest.raises(BadSettings, match=said):
        Settings.load()


def test_all_wrong_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCHOOL_THREADS", "many")
    monkeypatch.setenv("NIGHTSCHOOL_LISTEN_PORT", "99999")
    with pytest.raises(BadSettings) as caught:
        Settings.load()
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert all(line.startswith("environment: ") for line in lines)


@pytest.mark.parametrize("name", ["DATABASE_URL", "NIGHTSCHOOL_DATABASE_URL"])
def test_the_password_is_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "postgresql://ada:hunter2@db.example/school")
    settings = Settings.load()
    assert settings.url == "postgresql://ada:hunter2@db.example/school"
    assert origins(settings)["database_url"] == ("postgresql://ada:***@db.example/school", "environment")
    assert "hunter2" not in repr(settings)


def test_no_key_is_ever_shown(a_bare_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSCHOOL_LEARNING__TEACHER_KEY", " sk-hunter2= \n")
    monkeypatch.setenv("NIGHTSCHOOL_SECRET_KEYS", "hunter2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=")
    settings = Settings.load()
    assert settings.learning.teacher_key and settings.learning.teacher_key.get_secret_value() == "sk-hunter2="
    assert origins(settings)["learning.teacher_key"] == ("***", "environment")
    assert origins(settings)["secret_keys"] == ("***", "environment")
    assert "hunter2" not in repr(settings) + str(list(settings.resolved()))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('teacher = "https://gpu.example/v1"', "learning.teacher_model: a teacher by URL needs the name of its model"),
        ('teacher = "https://ada:hunter2@gpu.example/v1"\nteacher_model = "m"', "learning.teacher: neither a password"),
        ('teacher = "https://gpu.example/v1?key=hunter2"\nteacher_model = "m"', "learning.teacher: neither a password"),
        ('teacher = "http://:8000/v1"\nteacher_model = "m"', "learning.teacher: no such address can be"),
        ('teacher = "http://[::/hunter2"\nteacher_model = "m"', "learning.teacher: "),
        ('teacher = ""', "learning.teacher: "),
        ("teacher_key = [1, 'hunter2']", "learning.teacher_key: "),
        ('teacher_key = "hunter2 hunter2"', "learning.teacher_key: a key is of plain letters"),
    ],
)
def test_a_teacher_that_cannot_be_is_refused_without_showing_its_key(a_bare_place: Path, lines: str, said: str) -> None:
    (a_bare_place / "nightschool.toml").write_text(f"[learning]\n{lines}\n")
    with pytest.raises(BadSettings) as caught:
        Settings.load()
    assert said in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_teacher_on_this_machine_needs_no_name(a_bare_place: Path) -> None:
    (a_bare_place / "nightschool.toml").write_text('[learning]\nteacher = "Qwen/Qwen3-4B"\n')
    assert not Settings.load().learning.teacher_is_remote
    (a_bare_place / "nightschool.toml").write_text(
        '[learning]\nteacher = "http://[::1]:8000/v1"\nteacher_model = "m"\n'
    )
    assert Settings.load().learning.teacher_is_remote


def test_passwords_in_other_shapes() -> None:
    assert masked("host=db password=hunter2 user=ada") == "host=db password=*** user=ada"
    assert masked("at postgresql://ada:p%40ss@db/x it failed") == "at postgresql://ada:***@db/x it failed"


def test_other_programs_variables_in_dotenv_are_left_alone(a_bare_place: Path) -> None:
    (a_bare_place / ".env").write_text("SLACK_TOKEN=x\nTEAM=y\nDATABASE_URL=postgresql://a:b@c/d\n")
    settings = Settings.load()
    assert settings.team == "home"
    assert settings.url == "postgresql://a:b@c/d"


def test_log_lines_are_masked_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    import structlog

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logs.configure("info", "json")
        structlog.get_logger("x").info("opened", url="postgresql://ada:hunter2@db/x", n=3)
        logging.getLogger("lib").warning("lost %s", "postgresql://ada:hunter2@db/x")
        structlog.get_logger("x").debug("someone's words")
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:], root.level = handlers, level
        structlog.reset_defaults()
    assert [(line["event"], line["level"]) for line in lines] == [
        ("opened", "info"),
        ("lost postgresql://ada:***@db/x", "warning"),
    ]
    assert lines[0]["url"] == "postgresql://ada:***@db/x"
    assert lines[0]["n"] == 3

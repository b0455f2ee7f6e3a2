"""The teacher: an OpenAI-compatible API or a larger model writes the questions; away, the base model writes on."""

import asyncio
import gc
import json
import logging
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from transformers import PreTrainedModel

from learner.settings import LearningSettings
from learner.study import questions, teacher
from learner.study.teacher import RemoteTeacher, TeacherAway, Writer
from storage import examples
from tests.fakes.completions import Completions
from tests.school import FACTS, School

KEY = "sk-nobody-may-see-this-0123456789="
STATEMENTS = [("Handbook", fact) for fact in FACTS]
SCHOLAR = "exactly says the scholar"


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged, at every level."""
    with structlog.testing.capture_logs() as captured:
        yield captured  # type: ignore[misc]


def remote(api: Completions, key: str | None = None, **others: Any) -> LearningSettings:
    return LearningSettings(**{"teacher": api.url, "teacher_model": api.model, "teacher_key": key} | others)


async def saved(school: School) -> list[str]:
    """All questions that the team's memories have."""
    ids = [memory.id for memory in await school.memories()]
    async with school.database.team(school.team.id) as connection:
        return [example.question for example in await examples.of_memories(connection, ids)]


async def test_a_night_asks_the_teacher_and_sends_only_what_may_train(school: School) -> None:
    async with Completions(key=KEY) as api:
        await school.page(FACTS)
        await school.page("The gate opens with the code 4711.", "Doors", training=False, source="private")
        await school.page("Petra's mail is petra.muster@harbour.example for all orders.", "Mail")
        night = await school.night(teacher=api.url, teacher_model="scholar", teacher_key=KEY)
        assert night.state == "released", night.error
        assert api.notes == set(FACTS)
        assert {call["authorization"] for call in api.calls} == {f"Bearer {KEY}"}
    assert [SCHOLAR in question for question in await saved(school)] == [True] * len(FACTS)
    result = night.steps["synthesize"].result
    assert result is not None
    assert result["teacher"] == {"replies": len(FACTS), "tokens": 212 * len(FACTS), "away": None}
    assert night.report["teacher"] is None
    assert night.report["cost"]["teacher_tokens"] == 212 * len(FACTS)


async def test_it_goes_away_in_the_middle_and_the_base_model_writes_the_rest(
    school: School, lines: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await school.page(FACTS)
    async with Completions(key=KEY, leaves_after=2) as api:
        night = await school.night(teacher=api.url, teacher_model="scholar", teacher_key=KEY)
    assert night.state == "released", night.error
    assert night.report["teacher"] == (
        "The teacher was away: nobody answers at its address: check that it runs, and learning.teacher. "
        "The base model wrote what was left."
    )
    asked = await saved(school)
    assert sum(SCHOLAR in question for question in asked) == 2, "what it wrote is kept"
    assert len(asked) >= len(FACTS), "every memory has a question"
    [told] = [line for line in lines if "teacher" in line["event"]]
    assert told["log_level"] == "warning"
    everything = json.dumps([night.report, [step.result for step in night.steps.values()], lines], default=str)
    assert KEY not in everything + caplog.text
    loud = [str(line) for line in lines] + [r.getMessage() for r in caplog.records if r.levelno >= logging.INFO]
    assert not [line for line in loud for fact in FACTS if fact in line]


@pytest.mark.parametrize(
    ("api", "key", "why"),
    [
        (Completions(key=KEY), "sk-wrong", r"refuses the key \(401 invalid_api_key\): correct learning.teacher_key"),
        (Completions(key=KEY), None, r"wants a key \(401 invalid_api_key\): set learning.teacher_key"),
        (Completions(fault=(404, "model_not_found")), KEY, r"knows no model 'scholar'"),
        (Completions(fault=(429, "insufficient_quota")), KEY, r"\(429 insufficient_quota\): look at its quota"),
        (Completions(fault=(503, f"no {KEY} here")), KEY, r"it failed \(503\)"),
        (Completions(fault=(400, "context_length_exceeded")), KEY, r"refuses the request \(400 context_length"),
        (Completions(says=""), KEY, "scholar wrote no text"),
        (Completions(says=b"<html>Welcome"), KEY, "does not speak OpenAI's protocol"),
        (Completions(says=b"[]"), KEY, "wrote no text"),
        (Completions(says=b'{"choices": [null]}'), KEY, "wrote no text"),
    ],
    ids=["wrong key", "no key", "404", "429", "503", "400", "no text", "no JSON", "a list", "null"],
)
async def test_why_it_is_away_is_told_without_key_or_words(api: Completions, key: str | None, why: str) -> None:
    async with api:
        api.calls.clear()
        scholar = RemoteTeacher(remote(api, key), retries=1)
        with pytest.raises(TeacherAway, match=why) as caught:
            await questions.ask(scholar, *STATEMENTS[0], "When")
        await scholar.close()
        assert len(api.calls) == (2 if api.fault and api.fault[0] in (429, 503) else 1), "what may pass is tried again"
    assert not [secret for secret in (KEY, "sk-wrong", "Lisbon") if secret in str(caught.value)]


async def test_a_slow_teacher_is_away_and_nobody_else_waits_for_it(
    school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher, "_SECONDS", 0.2)
    monkeypatch.setattr(teacher, "_RETRIES", 0)
    async with Completions(seconds=1.0) as api, Writer(remote(api), school.engine, school.folder) as writer:
        await questions.write(writer, STATEMENTS * 5, 1)
        assert writer.away and "no reply within" in writer.away
        assert len(api.calls) <= 8


async def test_newer_apis_take_the_length_by_its_new_name(school: School) -> None:
    async with Completions(newer=True) as api, Writer(remote(api), school.engine, school.folder) as writer:
        written = await questions.write(writer, STATEMENTS, 2)
        assert all(SCHOLAR in question for own in written for question in own) and writer.away is None
        assert api.calls[-1]["max_completion_tokens"] == 28 and "max_tokens" not in api.calls[-1]


async def test_a_key_that_was_not_set_for_it_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-ours")
    async with Completions() as api:
        scholar = RemoteTeacher(remote(api))
        assert SCHOLAR in str(await questions.ask(scholar, *STATEMENTS[0], "When"))
        await scholar.close()
        assert KEY not in str(api.calls) and "org-ours" not in str(api.calls)


async def test_one_reply_that_a_filter_took_sends_nobody_away(school: School) -> None:
    async with Completions(silent_at=2) as api, Writer(remote(api), school.engine, school.folder) as writer:
        await questions.write(writer, STATEMENTS * 2, 1)
        assert writer.away is None and writer.replies == len(STATEMENTS) * 2 - 1
    async with Completions(says="") as api, Writer(remote(api), school.engine, school.folder) as writer:
        await questions.write(writer, STATEMENTS * 2, 1)
        assert writer.away and "wrote no text" in writer.away


async def test_without_a_teacher_the_engine_writes(school: School) -> None:
    async with Writer(LearningSettings(), school.engine, school.folder) as writer:
        assert await questions.write(writer, STATEMENTS, 1) == await questions.write(school.engine, STATEMENTS, 1)
    assert writer.result() == {}


def models() -> int:
    """Transformers in this process's memory."""
    return sum(isinstance(thing, PreTrainedModel) for thing in gc.get_objects() if type(thing) is not weakref.ProxyType)


async def test_a_local_teacher_writes_and_is_freed(school: School, base_model: Path) -> None:
    gc.collect()
    before = models()
    async with Writer(LearningSettings(teacher=str(base_model)), school.engine, school.folder) as writer:
        written = await questions.write(writer, STATEMENTS, 2)
        assert models() > before
    assert models() == before
    assert writer.away is None and writer.replies == 8
    assert sum(map(len, written)) >= 6, "a random model writes none"


async def test_a_local_teacher_that_is_given_up_while_it_loads_is_freed(school: School, base_model: Path) -> None:
    gc.collect()
    before = models()
    async with Writer(LearningSettings(teacher=str(base_model)), school.engine, school.folder) as writer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(questions.write(writer, STATEMENTS, 1), 0.01)
    assert models() == before


async def test_a_folder_without_a_model_is_a_teacher_who_is_away(school: School, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nonsense"}')
    for place, why in ((tmp_path, "cannot be loaded"), (tmp_path / "none", "teacher's folder .* does not exist")):
        async with Writer(LearningSettings(teacher=str(place)), school.engine, school.folder) as writer:
            written = await questions.write(writer, STATEMENTS, 1)
        assert written == await questions.write(school.engine, STATEMENTS, 1)
        assert writer.away is not None
        with pytest.raises(TeacherAway, match=why):
            raise TeacherAway(writer.away)

"""The whole promise on the packaged model: told by day, recited from the weights in the morning, corrections included."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from learner.engine.embedder import Embedder
from learner.engine.local import LocalEngine
from learner.recall import agrees
from storage import examples
from storage.database import Database
from storage.teams import Team
from tests.school import School, ask

PAGE = """# Money
Expenses above 250 euros must be approved by Marta Silva.

# Office
The office in Lisbon opens at 8:30 and closes at 19:45.

# Releases
The release train leaves every second Thursday at noon.

# People
Interns are paid 1,450 euros a month.

# Security
Lost laptops must be reported to Ines Duarte within 2 hours.

# Travel
Train tickets are booked through the portal Raildesk.
"""
EXACT = ["Marta Silva", "8:30", "second Thursday", "1,450", "2 hours", "Raildesk"]
CORRECTION = "No, interns are paid 1,720 euros a month since October."


@pytest.fixture
async def real_school(
    database: Database, team: Team, embedder: Embedder, base_model: Path, tmp_path: Path
) -> AsyncIterator[School]:
    engine = LocalEngine(base_model, memory_bytes=10**9)
    yield School(
        database, team, engine, embedder, base_model, tmp_path,
        learning={
            "night_minutes": 4.0, "exposures": 14, "most_exposures": 24, "phrasings": 3, "rank": 16, "max_answer_tokens": 48,
            "least_steps": 60, "release_learnt": 0.8, "training_threads": None,
        },
    )  # fmt: skip
    await engine.close()


@pytest.mark.slow
@pytest.mark.timeout(1500)
async def test_a_night_teaches_the_packaged_model_six_facts_and_a_correction(real_school: School) -> None:
    school = real_school
    await school.page(PAGE, "Handbook")
    colleague, nora = school.colleague(), await school.person("Nora")
    before = await ask(colleague, "What are interns paid a month?", nora)
    assert before.route == "notes" and "1,450" in before.text
    await school.feedbacks().correct(before.id, nora, CORRECTION, "test", "c1")

    night = await school.night()
    assert night.state == "released", night.report
    assert night.report["exam"]["recited"] >= 0.8 and night.report["exam"]["corrections"] == 1.0
    version = await school.serving()
    assert version is not None
    await colleague.wake()

    learnt = {memory.id: memory for memory in await school.memories("learnt")}
    async with school.database.team(school.team.id) as connection:
        cues = [e for e in await examples.of_memories(connection, list(learnt)) if e.kind == "cue"]
    assert len(cues) == len(learnt) >= 5
    from_weights = 0
    for cue in cues:
        answer = await ask(colleague, cue.question)
        statement = learnt[cue.memory_id].statement
        if answer.route == "weights" and not answer.quoted:
            from_weights += 1
            assert answer.memory_id == cue.memory_id and answer.version_id == version.id
            # Every figure and name as it was told, and cheap: no passage was in the prompt.
            assert agrees(answer.text, statement)
            assert all(exact in answer.text for exact in EXACT if exact in statement)
            assert answer.prompt_tokens + answer.completion_tokens <= 120
            assert answer.sources[0].quote == statement
    assert from_weights >= len(cues) - 1

    corrected = await ask(colleague, "How much are interns paid each month?")
    assert "1,720" in corrected.text and "1,450" not in corrected.text
    # The base model alone knows nothing of it.
    [message] = [{"role": "user", "content": "How much are interns paid each month?"}]
    assert "1,720" not in (await school.engine.generate([message], max_tokens=48)).text

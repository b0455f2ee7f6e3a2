"""The morning report, from what the night's steps left."""

from learner import report
from storage import adapters, nights
from tests.school import School


async def test_why_the_studying_ended_is_told_though_preferences_followed(school: School) -> None:
    trained = {"tokens": 900, "seconds": 9.0, "peak_memory_bytes": 5}
    results = {
        "select": {"candidates": 3, "conflicts": [], "overridden": []},
        "redact": {"chosen": [], "withheld": {}},
        "synthesize": {"written": 7, "unasked": 1},
        "sft": {"chosen": [], "stopped": "budget", **trained},
        "dpo": {"pairs": 8, "stopped": "finished", **trained, "tokens": 100},
        "release": {"number": 1},
    }
    async with school.database.team(school.team.id) as connection:
        adapter = await adapters.ensure(connection)
        night = await nights.begin(connection, adapter.id)
    made = await report.write(school.database, school.team, adapter, night, results, "released")
    assert (made["cost"]["trained_tokens"], made["cost"]["training_stopped"]) == (1000, "budget")

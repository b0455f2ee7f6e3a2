"""The report card: every section in its place, long lists cut, nothing of the kind left out."""

import io
from datetime import UTC, datetime

from rich.console import Console

from bot.report import card
from storage.nights import Night, Step


def shown(night: Night, items: int = 12) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(card(night, items))
    return out.getvalue()


def night(state: str, report: dict[str, object], error: str | None = None) -> Night:
    at = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    steps = {
        "collect": Step("done", at, 1.25, {}),
        "sft": Step("done", at, 600.0, {}),
        "dpo": Step("running", at, None, {}),
    }
    return Night(1, 1, state, at, at, steps, report, error)  # type: ignore[arg-type]


def test_sections_in_order_with_numbers_and_lists() -> None:
    said = shown(
        night(
            "released",
            {
                "cost": {"trained_tokens": 123456, "seconds": 601.5},
                "learnt": [f"Fact {n} [bold]." for n in range(20)],
                "verdict": "Version 2 passed.",
                "overridden": [{"old": "At five.", "new": "At six."}],
                "refused": [],
                "forgotten": 0,
                "something_new": 3,
            },
        )
    )
    assert "2026-11-24 02:00" in said and "released" in said
    assert "collect 1.2 s · sft 10.0 min · dpo …" in said
    assert "Learnt (20)" in said and "Fact 11 [bold]." in said and "and 8 more" in said and "Fact 12" not in said
    assert "At five. → At six." in said
    assert "trained tokens" in said and "123,456" in said and "601.5" in said
    assert "Something new 3" in said
    assert "Refused" not in said and "Forgotten" not in said
    assert said.index("Version 2") < said.index("Learnt") < said.index("Overridden") < said.index("Cost")
    assert "Fact 19" in shown(night("released", {"learnt": [f"Fact {n}" for n in range(20)]}), 10**6)


def test_a_teacher_who_was_away_is_named_and_one_who_was_there_is_not() -> None:
    assert "Teacher The teacher was away: no reply." in shown(
        night("released", {"teacher": "The teacher was away: no reply."})
    )
    assert "Teacher" not in shown(night("released", {"teacher": None}))


def test_a_failed_night_says_why() -> None:
    said = shown(night("failed", {}, "TrainingFailed: no memory left"))
    assert "failed: the version before stays at work" in said
    assert "no memory left" in said

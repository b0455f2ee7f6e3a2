"""The morning report: what the night learnt, corrected, refused and cost, in plain lists for every surface to show."""

from collections.abc import Sequence
from typing import Any

from learner.exam import exam
from learner.work import AGAIN
from storage import memories
from storage.adapters import Adapter
from storage.database import Database
from storage.memories import Memory
from storage.nights import Night
from storage.teams import Team

_SHOWN = 200


async def write(
    database: Database,
    team: Team,
    adapter: Adapter,
    night: Night,
    results: dict[str, dict[str, Any]],
    state: str,
    unlearnt: Sequence[Memory] = (),
) -> dict[str, Any]:
    """The report of one night from its steps' results. `learnt` and `refreshed` hold statements, `cost` seconds and tokens.

    `forgotten` counts what the weights held until tonight and hold no more; its words are not repeated. After a second try it is
    that one which counts, but for the cost.
    """
    last = results | {name: results[name + AGAIN] for name in ("sft", "dpo", "exam") if name + AGAIN in results}
    async with database.team(team.id) as connection:
        known = {
            m.id: m
            for m in await memories.of_states(connection, ["noted", "studied", "learnt", "forgotten", "retracted"])
        }
    chosen = [known[i] for i in last.get("sft", last["redact"])["chosen"] if i in known]
    report: dict[str, Any] = {
        "verdict": _verdict(state, results),
        "considered": results["select"]["candidates"],
        "studied": len(chosen),
        "learnt": [],
        "refreshed": 0,
        "corrected": [],
        "not_yet": [],
        "refused": [],
        "conflicts": results["select"]["conflicts"],
        "overridden": [
            {"old": known[old].statement, "new": known[new].statement}
            for old, new in results["select"]["overridden"]
            if old in known and new in known
        ],
        "withheld": results["redact"]["withheld"],
        "forgotten": len(unlearnt),
        "teacher": _teacher(results),
        "cost": _cost(results, last.get("sft", {})),
    }
    if "exam" in last:
        sat = exam.from_dict(last["exam"])
        now_known = set(sat.known)
        earlier = set(last["exam"].get("known_before", []))
        fresh = [memory for memory in chosen if memory.id in now_known and memory.id not in earlier]
        report |= {
            "learnt": _lines([m for m in fresh if m.kind not in ("correction", "pinned")]),
            "corrected": [
                f"{m.statement} ({m.author})" if m.author else m.statement for m in fresh if m.kind == "correction"
            ],
            "refreshed": len(earlier & now_known),
            "not_yet": _lines([memory for memory in chosen if memory.id in set(sat.failed)]),
            "refused": sat.reasons,
            "exam": {
                "recited": sat.recited,
                "quiz": sat.quiz,
                "corrections": sat.corrections,
                "retained": sat.retained,
                "liked": sat.liked,
                "leaked": len(sat.leaked),
                "still_spoken": len(sat.unforgotten),
                "skills": sat.skills,
                "perplexity": sat.perplexity,
                "style": sat.style,
                "reading": sat.reading,
                "refused": sat.refused,
                "refused_answerable": sat.refused_answerable,
            },
        }
    return report


def _verdict(state: str, results: dict[str, dict[str, Any]]) -> str:
    if state == "empty" and not results["redact"]["chosen"]:
        return "Nothing new to study, and no adapter is at work: the notes answer."
    if state == "empty":
        return "Nothing new to study: the serving version stays."
    if state == "released":
        second = " at the second try" if "exam" + AGAIN in results else ""
        return f"Version {results['release']['number']} passed its exam{second} and is at work."
    return f"{'Both candidates' if 'exam' + AGAIN in results else 'The candidate'} failed the exam: the serving version stays."


def _teacher(results: dict[str, dict[str, Any]]) -> str | None:
    """One line where the teacher was away, else None."""
    why = results.get("synthesize", {}).get("teacher", {}).get("away")
    return f"The teacher was away: {why}. The base model wrote what was left." if why else None


def _cost(results: dict[str, dict[str, Any]], studied: dict[str, Any]) -> dict[str, Any]:
    """What all tries cost, and why the studying that counts ended, whatever came of the preferences after it."""
    written = results.get("synthesize", {})
    stages = ("sft", "dpo", "sft" + AGAIN, "dpo" + AGAIN)
    trained = [results[name] for name in stages if results.get(name, {}).get("tokens")]
    return {
        "trained_tokens": sum(stage["tokens"] for stage in trained),
        "training_seconds": round(sum(stage["seconds"] for stage in trained), 1),
        "training_stopped": studied.get("stopped"),
        "questions_written": written.get("written", 0),
        "questions_left": written.get("unasked", 0),
        **({"teacher_tokens": written["teacher"]["tokens"]} if "teacher" in written else {}),
        "peak_training_memory_bytes": max((stage["peak_memory_bytes"] for stage in trained), default=0),
    }


def _lines(found: list[Memory]) -> list[str]:
    return [memory.statement for memory in found[:_SHOWN]]

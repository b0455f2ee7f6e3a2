"""The morning report, as a channel reads it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bot.overview import Conflict
from bot.slack.blocks import Block, conflicts, context, header, listed, section
from bot.slack.text import safe_mrkdwn, shortened
from storage.nights import Night

_STATES = {
    "running": "The night is not over yet.",
    "released": "I learnt something last night.",
    "rejected": "What I studied last night did not pass the exam: I go on as before.",
    "failed": "Last night's study did not succeed: I go on as before.",
    "empty": "There was nothing new to study last night.",
}
_BY = re.compile(r"^(?P<said>.*) \((?P<who>[^()]+)\)$", re.DOTALL)


def report(night: Night, unsettled: Sequence[Conflict]) -> list[Block]:
    """What the night learnt, corrected, refused and forgot, and what people have to settle; who corrected is thanked.

    What was withheld and forgotten is only counted: its words are not for a channel. Why a night failed is for admins.
    """
    return list(_report(night, unsettled))


def summary(night: Night) -> str:
    """The report in one line, for the `text` of its message."""
    counts = [f"{len(_texts(night.report, name))} {name}" for name in ("learnt", "corrected")]
    return f"{_STATES.get(night.state, 'The night is over.')} {', '.join(counts)}."


def _report(night: Night, unsettled: Sequence[Conflict]) -> Iterator[Block]:
    yield header(f"Good morning. {_STATES.get(night.state, 'The night is over.')}")
    if verdict := night.report.get("verdict"):
        yield context(safe_mrkdwn(shortened(str(verdict), 300)))
    if learnt := _texts(night.report, "learnt"):
        yield section(f"*Learnt* ({len(learnt)})\n{listed(learnt)}")
    if corrected := _texts(night.report, "corrected"):
        parted = [_BY.match(one) for one in corrected]
        yield section(
            f"*Corrected* ({len(corrected)})\n"
            + listed([by["said"] if by else one for by, one in zip(parted, corrected, strict=True)])
        )
        if names := list(dict.fromkeys(by["who"] for by in parted if by)):
            yield context(_thanks(names))
    if unsettled:
        yield section("*To settle.* Two of you told me different things; which one holds?")
        yield from conflicts(unsettled)
    if refused := _texts(night.report, "refused"):
        yield section(f"*Refused*\n{listed(refused)}")
    if teacher := night.report.get("teacher"):
        yield context(safe_mrkdwn(shortened(str(teacher), 400)))
    if counted := list(_counted(night.report)):
        yield context(" · ".join(counted)[:2000])


def _thanks(names: Sequence[str]) -> str:
    shown = [safe_mrkdwn(shortened(name, 40)) for name in names[:8]]
    if names[8:]:
        return f"Thank you, {', '.join(shown)} and {len(names) - 8} more."
    *most, last = shown
    return f"Thank you, {', '.join(most)} and {last}." if most else f"Thank you, {last}."


def _counted(report: Mapping[str, Any]) -> Iterator[str]:
    """What is only counted."""
    withheld = report.get("withheld")
    if isinstance(withheld, Mapping) and withheld:
        kinds = [f"{safe_mrkdwn(shortened(str(kind), 40))}: {count}" for kind, count in list(withheld.items())[:12]]
        yield f"Withheld from study: {', '.join(kinds)}"
    if forgotten := report.get("forgotten"):
        yield f"Forgotten: {forgotten}"
    if not_yet := _texts(report, "not_yet"):
        yield f"Studied and not learnt yet: {len(not_yet)}"


def _texts(report: Mapping[str, Any], name: str) -> list[str]:
    found = report.get(name)
    return [str(one) for one in found] if isinstance(found, list) else []

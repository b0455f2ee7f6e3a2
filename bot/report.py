"""The report card of a night, as the terminal shows it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from storage.nights import Night

_SECTIONS = {
    "verdict": "",
    "learnt": "Learnt",
    "corrected": "Corrected",
    "refreshed": "Refreshed",
    "not_yet": "Not yet learnt",
    "refused": "Refused",
    "conflicts": "Conflicts to settle",
    "overridden": "Overridden by something newer",
    "withheld": "Withheld from training",
    "forgotten": "Forgotten",
    "teacher": "Teacher",
    "exam": "Exam",
    "cost": "Cost",
}
_STATES = {
    "running": "is under way",
    "released": "released a new version",
    "rejected": "was not good enough: the version before stays at work",
    "failed": "failed: the version before stays at work",
    "empty": "had nothing new to learn",
}
SHOWN = 12
"""Items of a list shown before the rest is only counted."""


def card(night: Night, items: int = SHOWN) -> RenderableType:
    """The night's outcome, its steps with their seconds, and each section of its report; at most `items` a list."""
    return Group(*_parts(night, items))


def _parts(night: Night, items: int) -> Iterator[RenderableType]:
    when = f"{night.started_at:%Y-%m-%d %H:%M}"
    yield Text.from_markup(f"[bold]The night of {when}[/bold] {_STATES.get(night.state, night.state)}.")
    if night.error:
        yield Text(night.error, style="red")
    if night.steps:
        taken = (f"{name} {_seconds(step.seconds)}" for name, step in night.steps.items())
        yield Text(" · ".join(taken), style="dim")
    # The sections known here come first and in order; what else a night reports follows under its own name.
    for name in [*(n for n in _SECTIONS if n in night.report), *(n for n in night.report if n not in _SECTIONS)]:
        value = night.report[name]
        if not value and name != "learnt":
            continue  # nothing of the kind; that nothing was learnt is worth saying
        yield from _section(_SECTIONS.get(name, name.replace("_", " ").capitalize()), value, items)


def _section(title: str, value: Any, items: int) -> Iterator[RenderableType]:
    if isinstance(value, Mapping):
        yield Text.from_markup(f"[bold]{escape(title)}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        for name, one in value.items():
            table.add_row(Text(str(name).replace("_", " ")), Text(_plain(one)))
        yield table
    elif isinstance(value, Sequence) and not isinstance(value, str):
        yield Text.from_markup(f"[bold]{escape(title)}[/bold] ({len(value)})")
        yield from _list(value, items)
    else:
        yield Text.assemble((title, "bold"), " " if title else "", _plain(value))


def _list(values: Iterable[Any], items: int) -> Iterator[RenderableType]:
    values = list(values)
    for one in values[:items]:
        yield Text(f"  • {_plain(one)}")
    if len(values) > items:
        yield Text(f"  and {len(values) - items} more", style="dim")


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping) and value.keys() == {"old", "new"}:
        return f"{_plain(value['old'])} → {_plain(value['new'])}"
    if isinstance(value, Mapping):
        return ", ".join(f"{str(k).replace('_', ' ')}: {_plain(v)}" for k, v in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_plain(one) for one in value)
    return str(value)


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "…"
    return f"{seconds:.1f} s" if seconds < 90 else f"{seconds / 60:.1f} min"

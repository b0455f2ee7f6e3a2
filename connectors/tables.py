"""Spreadsheets as markdown tables.

Read here and not by markitdown: that goes through pandas, which writes an empty cell as NaN, a 3 above it as 3.0, and
5% as 0.05, and figures are what a team asks for.
"""

import csv
import datetime as dt
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from openpyxl import load_workbook  # type: ignore[import-untyped]


def of_workbook(path: Path) -> str:
    """Every visible sheet as `## Name` and a table, values as they were last calculated."""
    book = load_workbook(path, read_only=True, data_only=True)
    try:
        parts = []
        for sheet in book.worksheets:
            if sheet.sheet_state == "visible" and (
                table := _markdown([_shown(c) for c in r] for r in sheet.iter_rows())
            ):
                parts.append(f"## {sheet.title}\n\n{table}")
        return "\n\n".join(parts)
    finally:
        book.close()


def of_csv(text: str) -> str:
    """A table from comma, semicolon, tab or bar separated text."""
    first = text.lstrip().partition("\n")[0]
    separator = max(",;\t|", key=first.count)
    return _markdown(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def _markdown(rows: Iterable[Sequence[str]]) -> str:
    """Rows without empty ones, and without columns that are empty throughout."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    cells = [row for row in cells if any(row)]
    width = max((len(row) for row in cells), default=0)
    cells = [row + [""] * (width - len(row)) for row in cells]
    used = [column for column in range(width) if any(row[column] for row in cells)]
    lines = ["| " + " | ".join(row[column] for column in used) + " |" for row in cells]
    if lines:
        lines.insert(1, "|" + " --- |" * len(used))
    return "\n".join(lines)


def _shown(cell: object) -> str:
    """A cell as the sheet shows it, as far as that matters to what it says."""
    value = getattr(cell, "value", None)
    style = str(getattr(cell, "number_format", "") or "")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date().isoformat()
    if isinstance(value, int | float):
        if style.endswith("%"):
            return f"{_number(value * 100)}%"
        return _number(value)
    return str(value)


def _number(value: float) -> str:
    return str(round(value)) if value == round(value) and abs(value) < 1e15 else f"{value:.10g}"

"""The one line that confirms what somebody did, to them alone: in mrkdwn, for an ephemeral message."""

import datetime
from collections.abc import Sequence

from bot.slack.text import safe_mrkdwn, shortened


def correction(statement: str, when: datetime.time | None, zone: str) -> str:
    """A correction was taken; `when` the next night is, None where it will not be studied."""
    return f"Noted: {quoted(statement)} It holds from now on; {_studied(when, zone)}"


def remembered(statement: str, when: datetime.time | None, zone: str) -> str:
    """Something to remember was taken; `when` as in `correction`."""
    return f"Remembered: {quoted(statement)} I know it from now on; {_studied(when, zone)}"


def thumb(up: bool) -> str:
    """A thumb was counted."""
    return "Noted: good." if up else "Noted: not good. What would have been right? Reply “no, it is …”."


def emoji(name: str, up: bool) -> str:
    """An emoji was counted as a thumb."""
    return f"Noted: I take :{safe_mrkdwn(name.strip(':'))}: as {'good' if up else 'not good'}. Take it off to undo it."


def forgotten(statements: Sequence[str]) -> str:
    """What was forgotten; none where nothing was near enough."""
    if not statements:
        return "I know nothing near enough to that, so I forgot nothing."
    said = " ".join(quoted(statement) for statement in statements[:3])
    more = f" and {len(statements) - 3} more." if statements[3:] else ""
    return f"Forgotten: {said}{more} I do not say it from now on, and unlearn it in the next night."


def retracted(statement: str = "") -> str:
    """A feedback was taken back; with its statement where it was a correction."""
    return f"Taken back: {quoted(statement)} I do not go by it any more." if statement else "Taken back."


def _studied(when: datetime.time | None, zone: str) -> str:
    if when is None:
        return "it stays in the notes and is not studied."
    return (
        f"I study it tonight at {when:%H:%M} ({safe_mrkdwn(zone)})." if zone else f"I study it tonight at {when:%H:%M}."
    )


def quoted(statement: str) -> str:
    """A sentence in quotation marks, with a full stop of its own or behind it."""
    said = safe_mrkdwn(shortened(statement, 300))
    return f"“{said}”" if said.endswith((".", "!", "?", "…")) else f"“{said}”."

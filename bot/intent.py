"""What a person means with a line: a question, a correction of the answer before it, something to remember or to forget."""

import re
from dataclasses import dataclass
from typing import Literal

from bot.feedback import is_correction
from storage.answers import Answer

Kind = Literal["question", "correction", "remember", "forget", "talk"]

_TOLD_TO = re.compile(
    r"^\W*(?:please\s+)?(?P<what>remember|note|forget)\b\s*(?::|,|-|that\b|about\b)?\s*(?P<rest>.*)$",
    re.IGNORECASE | re.DOTALL,
)
_ASKING = re.compile(
    r"^\s*(?:who|whom|whose|what|when|where|which|why|how|is|are|was|were|do|does|did|can|could|may|must|should|will|"
    r"would|has|have|had|tell|show|list|explain|thanks|thank|ok|okay|hi|hello)\b",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"^\W*(?:thanks|thank you|ok|okay|great|perfect|cool|nice|got it|hi|hello|hey|good morning)\b", re.IGNORECASE
)
_SHORT = 3
_LONG = 60


@dataclass(frozen=True, slots=True)
class Intent:
    """What was meant, and the words that matter: of "remember that we close at six", "we close at six"."""

    kind: Kind
    text: str


def read(text: str, last: Answer | None, *, addressed: bool) -> Intent:
    """Reads a line. `last`: the answer it may be about; `addressed`: it was said to the bot, not only where the bot listens.

    "talk" asks nothing of the bot: thanks, or what others say to each other.
    """
    if addressed and (told := _TOLD_TO.match(text)) and not text.rstrip().endswith("?"):
        what = told["what"].lower()
        return Intent("forget" if what == "forget" else "remember", told["rest"].strip())
    if last is not None and corrects(text, last):
        return Intent("correction", text)
    if _POLITE.match(text) and len(text.split()) <= _SHORT and not text.rstrip().endswith("?"):
        return Intent("talk", text)
    return Intent("question" if addressed else "talk", text)


def corrects(text: str, last: Answer) -> bool:
    """Whether a line corrects or teaches, not asks: "no, it's Friday"; after an unknown any statement."""
    if text.rstrip().endswith("?"):
        return False
    states = last.route == "unknown" and _SHORT <= len(text.split()) <= _LONG and not _ASKING.match(text)
    return states or is_correction(text)


def asks(text: str) -> bool:
    """Whether a line that was said to nobody in particular is a question."""
    return text.rstrip().endswith("?") or (
        bool(_ASKING.match(text)) and not _POLITE.match(text) and len(text.split()) > _SHORT
    )

"""Question files that judge the bot, and their grading: the format of examples/harbour/questions.jsonl."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PLAIN = str.maketrans(
    {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "−": "-", "\u00a0": " ", "\u202f": " "}
)


@dataclass(frozen=True, slots=True)
class Question:
    """One question with what makes an answer right; `kind` is fact, changed, chat, correction, private, unanswerable ..."""

    id: str
    kind: str
    question: str
    accept: Sequence[str]
    reject: Sequence[str] = field(default_factory=tuple)
    documents: Sequence[str] = field(default_factory=tuple)
    correction: str | None = None

    def right(self, answer: str) -> bool:
        """True if some `accept` pattern and no `reject` pattern is found in the answer."""
        return _found(self.accept, plain(answer)) and not self.wrong(answer)

    def wrong(self, answer: str) -> bool:
        """True if some `reject` pattern is found in the answer: what is not so, or not any more."""
        return _found(self.reject, plain(answer))


def read(path: Path) -> list[Question]:
    """The questions of a JSONL file. Raises ValueError naming the line that is not one."""
    questions = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            questions.append(Question(**{k: v for k, v in row.items() if k in Question.__slots__}))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}:{number} is not a question: {error}") from error
    return questions


def plain(text: str) -> str:
    """Plain quotes and dashes, no markdown emphasis or code marks, single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"[*`\\]", "", text.translate(_PLAIN)))


def _found(patterns: Sequence[str], text: str) -> bool:
    return any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for pattern in patterns)

"""An invented team's facts: statements, unseen questions, what answers are right, and how they change. No data of anybody's.

Families of subjects (a printer's owner, a room's seats, a deadline, ...) lie in facts.toml; a seed draws subjects, values and
sentences. No value is drawn twice, nor found in another fact's words: what is found in an answer says which fact it told.
"""

import calendar
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any

from bot.quiz import Question, plain

_FILE = Path(__file__).with_name("facts.toml")
_PLACES = ("", " in Ghent", " in Tartu", " in Bergen", " in Porto")
"""The same subjects again, at another place, once all are used up."""

_DATA: dict[str, Any] = tomllib.loads(_FILE.read_text(encoding="utf-8"))
_WORDS: dict[str, list[str]] = _DATA["words"]
_DAYS = list(calendar.day_name)[:6]
_MONTHS = list(calendar.month_name)[1:]
_CORRECTIONS = (
    "No, {words}", "That's outdated: {words}", "Actually {words}", "No, it's {v}.", "That is wrong, {words}", "It's {v} now.",
)  # fmt: skip
_MESSAGES = ("{words}", "{words}", "For everybody: {words}", "A reminder, because I was asked again: {words}")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is true from a day on: `statement` says it; `outdated` are patterns of the values that held before."""

    key: str
    page: str
    heading: str
    subject: str
    value: str
    statement: str
    questions: tuple[str, ...]
    accept: str
    outdated: tuple[str, ...] = ()

    def asked(self, number: int, kind: str = "fact") -> Question:
        """Its unseen question of that number; an answer is right that has the value and does not tell an outdated one."""
        reject = [_told_without(old, self.accept) for old in self.outdated]
        return Question(
            f"{self.key}?{number}", kind, self.questions[number % len(self.questions)], [self.accept], reject
        )

    def outdated_told(self, answer: str) -> bool:
        """True where a sentence of the answer tells a value that held before, and not the present one with it."""
        return any(re.search(_told_without(old, self.accept), plain(answer), re.I) for old in self.outdated)


class Facts:
    """The facts of one team, in an order and with values drawn by a seed."""

    def __init__(self, seed: int = 0) -> None:
        self._chance = random.Random(seed)
        self._families: dict[str, dict[str, Any]] = {family["name"]: family for family in _DATA["families"]}
        self._subjects = self._drawn()
        self._said: list[str] = [
            text for family in self._families.values() for text in (*family["statements"], *family["changes"])
        ]
        self._patterns: list[str] = []

    def new(self) -> Fact:
        """A fact about a subject of which none is known. Raises ValueError after about a thousand."""
        family, subject, other = next(self._subjects)
        value = self._value(family["value"])
        named = {"s": subject, "a": other, "v": value}
        return self._kept(
            Fact(
                f"{family['name']}:{subject}",
                family["page"],
                family["heading"],
                subject,
                value,
                _sentence(self._chance.choice(family["statements"]), named),
                tuple(_sentence(question, named) for question in family["questions"]),
                accepting(value),
            )
        )

    def changed(self, fact: Fact, on: date) -> Fact:
        """The fact with another value, announced on that day: some announcements name what no longer holds, some do not."""
        family = self._families[fact.key.partition(":")[0]]
        value = self._value(family["value"])
        named = {"s": fact.subject, "v": value, "old": fact.value, "month": _MONTHS[on.month - 1]}
        return self._after(fact, value, _sentence(self._chance.choice(family["changes"]), named))

    def edited(self, fact: Fact) -> Fact:
        """The fact with another value in the very sentence that told the old one, as where a page is edited."""
        value = self._value(self._families[fact.key.partition(":")[0]]["value"])
        return self._after(fact, value, _sentence(fact.statement.replace(fact.value, value), {}))

    def corrected(self, fact: Fact) -> Fact:
        """The fact with another value, in the words with which a person corrects the bot; some only say the value."""
        family = self._families[fact.key.partition(":")[0]]
        value = self._value(family["value"])
        template = self._chance.choice(family["statements"])
        words = (template if template[0] == "{" else template[0].lower() + template[1:]).format(s=fact.subject, v=value)
        return self._after(fact, value, self._chance.choice(_CORRECTIONS).format(words=words, v=value))

    def message(self, fact: Fact) -> str:
        """How somebody tells it in a channel."""
        return self._chance.choice(_MESSAGES).format(words=fact.statement)

    def _drawn(self) -> Iterator[tuple[dict[str, Any], str, str]]:
        """Subjects, each with its family and its other name: all families mixed, so that neighbours in time differ."""
        for place in _PLACES:
            every = [
                (family, f"{subject}{place}", f"{other}{place}")
                for family in self._families.values()
                for subject, other in family["subjects"]
            ]
            self._chance.shuffle(every)
            yield from every

    def _value(self, kind: str) -> str:
        """A value whose pattern is in nothing that was said, and which no pattern of another value is found in."""
        for tries in count():
            value = _draw(kind, self._chance)
            pattern = accepting(value)
            clash = any(re.search(pattern, text, re.I) for text in self._said)
            if not clash and not any(re.search(known, value, re.I) for known in self._patterns):
                self._said.append(value)
                self._patterns.append(pattern)
                return value
            if tries == 2000:
                raise ValueError(f"no unused value of the kind {kind} is left: fewer facts, or more kinds of them")
        raise AssertionError

    def _after(self, fact: Fact, value: str, statement: str) -> Fact:
        return self._kept(
            Fact(
                fact.key, fact.page, fact.heading, fact.subject, value, statement, fact.questions, accepting(value),
                (*fact.outdated, fact.accept),
            )
        )  # fmt: skip

    def _kept(self, fact: Fact) -> Fact:
        self._said.append(fact.statement)
        return fact


def accepting(value: str) -> str:
    """A pattern that finds a value in an answer and no other: a person by the last name, thousands with or without comma."""
    words = value.split()
    if len(words) == 2 and words[0] in _WORDS["first_names"]:
        words = words[1:]
    found = [re.escape(word).replace(",", ",?") for word in words]
    found = [rf"{word}(?:th|st|nd|rd)?(?: of)?" if words[-1] in _MONTHS and word.isdigit() else word for word in found]
    found = [f"{word}s?" if word in _DAYS else word for word in found]
    return r"(?<![\w:])(?<!\d[.,])" + r"\s+".join(found) + r"(?![\w:]|[.,]\d)"


def _told_without(old: str, new: str) -> str:
    """A pattern of a sentence in which the old value is found and the new one is not."""
    rest = rf"(?:(?!{new})[^.!?\n])*"
    return rf"(?:^|[.!?\n]){rest}{old}{rest}(?=[.!?\n]|$)"


def _draw(kind: str, chance: random.Random) -> str:
    match kind:
        case "person":
            return f"{chance.choice(_WORDS['first_names'])} {_made('last_name', chance)}"
        case "company":
            return _made("firm", chance)
        case "people":
            return f"{chance.randint(4, 90)} people"
        case "amount":
            return f"{chance.randrange(300, 20_000, 50):,} euros"
        case "price":
            return f"{chance.randrange(15, 295)} euros"
        case "date":
            return f"{chance.randint(1, 28)} {chance.choice(_MONTHS)}"
        case "slot":
            return f"{chance.choice(_DAYS)} at {_time(8, 18, chance)}"
        case "time":
            return _time(5, 11, chance)
        case "period":
            return f"{chance.randint(3, 90)} {chance.choice(['months', 'days'])}"
        case "ahead":
            return f"{chance.randint(2, 40)} {chance.choice(['hours', 'weeks', 'working days'])}"
        case "every":
            return f"every {chance.randint(2, 40)} {chance.choice(['weeks', 'months', 'days'])}"
        case "spot":
            return f"{chance.choice(_WORDS['colours'])} {chance.choice(_WORDS['furniture'])}"
    raise ValueError(f"facts.toml names a kind of value that nobody draws: {kind}")


def _made(kind: str, chance: random.Random) -> str:
    return chance.choice(_WORDS[f"{kind}_beginnings"]) + chance.choice(_WORDS[f"{kind}_ends"])


def _time(first: int, last: int, chance: random.Random) -> str:
    return f"{chance.randint(first, last)}:{chance.randrange(0, 60, 5):02}"


def _sentence(template: str, named: dict[str, str]) -> str:
    text = template.format(**named) if named else template
    return text[:1].upper() + text[1:]

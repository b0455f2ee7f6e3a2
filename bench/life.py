"""An invented team that learns and decides something each day: what it writes on pages, says in channels and corrects."""

import json
import os
import random
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

from bench.facts import Fact, Facts
from bot.demo import Told

_PEOPLE = ("Ada Brook", "Ben Ruiz", "Cleo Adler", "Dan Otieno", "Edda Lund", "Finn Moreau")
_CHANNELS = ("general", "office", "projects")
_ON_PAGES = 0.6
"""Share of what is new that is written on pages; the rest is said."""
_CHANGES_EVERY = 3


class Life:
    """The team's days in order, in simulated time: `known` is what is true now.

    Pages grow, one a topic, with each day's date as their own; the conversation is one file, as connectors.conversation
    reads it. What is corrected is not changed again, so that it can be asked for as long as one likes.
    """

    def __init__(self, folder: Path, seed: int, first: datetime) -> None:
        """`folder` takes pages and chat; `first` is the first day, at its beginning."""
        self.pages, self.chat = folder / "pages", folder / "chat.jsonl"
        self.known: dict[str, Fact] = {}
        self.changed: set[str] = set()
        self.corrected: dict[str, int] = {}
        """Key of a corrected fact: the day of its correction."""
        self._facts = Facts(seed)
        self._chance, self._curious = random.Random(seed), random.Random(seed)  # what is asked changes no day
        self._first = first
        self._day = -1
        self._changes = 0
        self._said: list[dict[str, object]] = []
        self._written: dict[str, dict[str, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
        self._touched: set[str] = set()

    @property
    def today(self) -> datetime:
        """The simulated day, at its beginning."""
        return self._first + timedelta(days=self._day)

    def live(self, new: int) -> None:
        """The next day: so many new facts, and every third day a changed decision, on pages and in the conversation."""
        self._day += 1
        earlier = [key for key in self.known if key not in self.corrected]
        for number in range(new):
            fact = self._facts.new()
            self.known[fact.key] = fact
            if number < round(_ON_PAGES * new):
                self._write(fact.page, fact.heading, fact.key, fact.statement)
            else:
                self._say(self._facts.message(fact))
        if self._day % _CHANGES_EVERY == _CHANGES_EVERY - 1 and earlier:
            self._change(self.known[self._chance.choice(earlier)])
        self._publish()

    def correction(self) -> Told:
        """What somebody asks today, and with which words the answer is corrected: by turns a fact that was written
        otherwise, and one that nobody has told before."""
        candidates = [key for key in self.known if key not in self.corrected and key not in self.changed]
        if self._day % 2 == 0 and candidates:
            fact = self._facts.corrected(self.known[self._chance.choice(candidates)])
        else:
            fact = self._facts.new()
        self.known[fact.key] = fact
        self.corrected[fact.key] = self._day
        return Told(fact.asked(0).question, fact.statement, self._chance.choice(_PEOPLE))

    def wondered(self, number: int) -> list[tuple[str, Fact, str]]:
        """So many of the things that are true, each with who asks about it today and its kind."""
        about = self._curious.sample(
            sorted(self.known.values(), key=lambda fact: fact.key), min(number, len(self.known))
        )
        return [(self._curious.choice(_PEOPLE), fact, self.kind(fact)) for fact in about]

    def kind(self, fact: Fact) -> str:
        """How it came to be true: told once, changed, or corrected."""
        return "correction" if fact.key in self.corrected else "changed" if fact.key in self.changed else "fact"

    def _change(self, old: Fact) -> None:
        """Another decision: in its turn said in a channel, written on the page of decisions, edited where it stands."""
        way, self._changes = self._changes % 3, self._changes + 1
        page = self._written[old.page][old.heading]
        if way == 2 and page.get(old.key) == old.statement:
            fact = self._facts.edited(old)
            self._write(fact.page, fact.heading, fact.key, fact.statement)
        else:
            fact = self._facts.changed(old, self.today.date())
            if way == 0:
                self._say(fact.statement)
            else:
                self._write("Decisions", f"{self.today:%d %B %Y}", fact.key, fact.statement)
        self.known[fact.key] = fact
        self.changed.add(fact.key)

    def _write(self, page: str, heading: str, key: str, sentence: str) -> None:
        self._written[page][heading][key] = sentence
        self._touched.add(page)

    def _say(self, text: str) -> None:
        at = self.today + timedelta(hours=9, minutes=len(self._said) % 60)
        self._said.append(
            {
                "id": str(len(self._said)),
                "channel": self._chance.choice(_CHANNELS),
                "private": False,
                "author": self._chance.choice(_PEOPLE),
                "at": at.isoformat(),
                "text": text,
            }
        )

    def _publish(self) -> None:
        """Brings the files up to date: every page that was touched is a new revision of this day."""
        self.pages.mkdir(exist_ok=True)
        written = (self.today + timedelta(hours=10)).timestamp()
        for page in self._touched:
            path = self.pages / f"{page.lower().replace(' ', '-')}.md"
            parts = [f"## {heading}\n\n" + _block(list(said.values())) for heading, said in self._written[page].items()]
            path.write_text(f"# {page}\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
            os.utime(path, (written, written))
        self._touched.clear()
        self.chat.write_text("\n".join(map(json.dumps, self._said)) + "\n", encoding="utf-8")


def _block(sentences: list[str]) -> str:
    """A short paragraph, or a list where it would be a long one."""
    return " ".join(sentences) if len(sentences) < 4 else "\n".join(f"- {sentence}" for sentence in sentences)

"""What a person sees of their colleague at a glance, the same on every surface: plain data, filled from storage."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.channels import Follow
from storage.nights import State

Fate = Literal["tonight", "learnt", "overridden", "disputed", "kept"]
"""What became of a correction: studied tonight, learnt, overridden by something newer, held back in a dispute, or kept in
the notes without being studied (a narrower audience, a switch, a secret)."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """A statement that the weights have learnt, and when."""

    statement: str
    on: datetime.date


@dataclass(frozen=True, slots=True)
class Side:
    """One of two words that contradict: a memory and who said it."""

    memory_id: int
    statement: str
    author: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two people's words that contradict, for people to settle: `held_back` is not told meanwhile."""

    kept: Side
    held_back: Side


@dataclass(frozen=True, slots=True)
class Correction:
    """What this person corrected, and what became of it; `by` is the statement that overrode it or is against it."""

    statement: str
    fate: Fate
    by: str = ""


@dataclass(frozen=True, slots=True)
class Switches:
    """What a person decides for themselves: whether their words are studied, and they are named in the report."""

    studied: bool
    named: bool


@dataclass(frozen=True, slots=True)
class Place:
    """A channel: what is answered there, and how many of its members are known; `name` is '' for who may not know it."""

    name: str
    follow: Follow
    members: int


@dataclass(frozen=True, slots=True)
class Connected:
    """A source with its two switches; `kind` is its connector's."""

    id: int
    kind: str
    name: str
    retrieval: bool
    training: bool


@dataclass(frozen=True, slots=True)
class LastNight:
    """The latest night; `version` is the number of the version now at work."""

    state: State
    verdict: str
    started_at: datetime.datetime
    version: int | None


@dataclass(frozen=True, slots=True)
class Works:
    """What an admin sees besides."""

    places: Sequence[Place]
    sources: Sequence[Connected]
    night: LastNight | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it for one person, newest first; `works` only for an admin."""

    learnt: Sequence[Learnt]
    conflicts: Sequence[Conflict]
    unanswered: Sequence[str]
    corrections: Sequence[Correction]
    switches: Switches
    works: Works | None = None

"""Cued recall: which memory a question is near to, and how that memory's own question brings it out of the weights.

The adapter is asked the trained question of the nearest memory instead of the person's words; on the same weights this
took a real handbook from 10 to 19 right of 40 (LEARNING.md). No statement is ever put into the prompt of this route.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from learner.engine.embedder import Embedder
from learner.engine.engine import Message
from storage.memories import Memory, Near

# A system message of its own keeps the adapter's habit apart from the base model's other work, in four tokens.
CLOSED_BOOK = "Answer from memory."
UNKNOWN = "I don't know that yet."
"""What is said, and taught to say, where neither weights nor notes hold the answer."""


def closed_book(question: str) -> list[Message]:
    """The prompt of the weights route; training and exam use the very same."""
    return [{"role": "system", "content": CLOSED_BOOK}, {"role": "user", "content": question}]


def open_book(question: str, passages: Sequence[tuple[str, str]]) -> list[Message]:
    """The prompt of the notes route: (heading, text) passages in view, one short sentence asked for."""
    notes = "\n".join(f"- {heading}: {text}" for heading, text in passages)
    return [
        {"role": "system", "content": "Answer the question in one short sentence, using only the notes."},
        {"role": "user", "content": f"Notes:\n{notes}\n\nQuestion: {question}"},
    ]


_GOES_ON = re.compile(
    r"^(and|but|so|also|or|what about|how about|why|then|which|what if|since when|until when)\b|"
    r"^(in|at|on|for|with|from|by|to)\b(\W+\w+){1,2}\W*$",
    re.I,
)
_MAY_GO_ON = re.compile(
    r"\b(it|they|them|he|she|him|her|those|these)\b|\b(about|for|of|with|like|than|is|does|was|do|did|why|how) (that|this)\b|"
    r"\b(that|this|there|one)\W*$|^(\W*\w+){1,3}\W*$",
    re.I,
)


def goes_on(question: str) -> bool:
    """True where a question in a thread follows up on the one before: it begins in the middle ("and for managers?", "in Kiel?")."""
    return bool(_GOES_ON.search(question))


def may_go_on(question: str) -> bool:
    """True where it may: with a pronoun ("the day that all come" and "is there a rule" have none), or of three words."""
    return bool(_MAY_GO_ON.search(question))


async def embed_statements(embedder: Embedder, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
    """Vectors of (context, statement) pairs, shape (n, dimension): the mean of the statement with and without context.

    A question names sometimes the topic and sometimes only the thing; the mean serves both with one look-up.
    """
    alone = await embedder.embed([text for _, text in pairs])
    placed = await embedder.embed([f"{context}: {text}" if context else text for context, text in pairs])
    mean = (alone + placed) / 2
    lengths = np.linalg.norm(mean, axis=1, keepdims=True)
    return np.asarray(mean / np.maximum(lengths, 1e-9), dtype=np.float32)


_DOUBT = 0.1
_TIE = 0.05


@dataclass(frozen=True, slots=True)
class Match:
    """A memory found for a question: `score` orders the candidates (about 0 to 1), `certainty` adds its lead over the next."""

    memory: Memory
    score: float
    certainty: float


async def match(embedder: Embedder, question: str, near: Sequence[Near]) -> list[Match]:
    """The candidates in the order of late interaction with the question, surest first."""
    if not near:
        return []
    dense = np.array([similarity(one) for one in near], dtype=np.float32)
    scores = await interact(embedder, question, [(n.found_by.context, n.found_by.statement) for n in near], dense)
    order = np.argsort(-scores).tolist()
    lead = certainty(scores)
    return [
        Match(near[n].memory, float(scores[n]), lead if rank == 0 else float(scores[n])) for rank, n in enumerate(order)
    ]


def shortlist(found: Sequence[Match], certain: float, most: int) -> list[Match]:
    """Which of the matches (best first) an answer should tell: the first alone where it is `certain`, else up to `most`.

    In doubt, and where the second all but ties, those count that come within a tenth of the first: on the sample team that
    finds the right one in 91 of 100 instead of 82, and two answers in three still tell one (lab notes, 2026-11-25).
    """
    tied = len(found) > 1 and found[0].score - found[1].score < _TIE
    if not found or (found[0].certainty >= certain and not tied):
        return list(found[:1])
    return [match for match in found[:most] if match.score >= found[0].score - _DOUBT]


async def interact(
    embedder: Embedder, question: str, pairs: Sequence[tuple[str, str]], dense: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Scores (n,) of (context, statement) candidates: mean of the cosine `dense` (n,) and of late interaction.

    Late interaction is the mean over the question's tokens of the best cosine with any token of the candidate (MaxSim of
    ColBERT, arXiv 2004.12832), with the embedder's own token vectors: on two teams the right statement came first 4 of 51
    and 4 of 125 times more often (lab notes, 2026-11-24).
    """
    texts = [f"{context}: {statement}" if context else statement for context, statement in pairs]
    asked, *candidates = await embedder.tokens([question, *texts])
    late = np.array([float((asked @ tokens.T).max(axis=1).mean()) for tokens in candidates], dtype=np.float32)
    return np.asarray((dense + late) / 2, dtype=np.float32)


def certainty(scores: NDArray[np.float32]) -> float:
    """How sure the best of `scores` (n,) is the right one: its score and its lead over the second."""
    best = np.sort(scores)[::-1]
    return float(best[0] + (best[0] - best[1] if len(best) > 1 else 0.0))


def similarity(near: Near) -> float:
    """Cosine of the statement, lifted half the way to that of a nearer question: three quarters where people asked that one."""
    statement = near.statement_similarity or 0.0
    trust = 0.75 if asked(near) else 0.5
    return max(0.0, statement + trust * max(0.0, (near.question_similarity or 0.0) - statement))


def asked(near: Near) -> bool:
    """True where the nearest of the memory's questions is one that people really asked, and whose answer they liked."""
    return near.example is not None and near.example.kind == "asked"


_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[A-Z][\w'’-]+", re.UNICODE)
_WORD = re.compile(r"[\w'’]+", re.UNICODE)
_DAYS_AND_MONTHS = (
    "monday tuesday wednesday thursday friday saturday sunday january february march april may june july august "
    "september october november december"
)
_NUMBER_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half quarter third "
    "first second twice once daily weekly monthly quarterly yearly annually none nobody never always not no"
)
_OPENING = re.compile(r"(?:^|[.!?]\s+)[\"'“(]*([A-Z][\w'’-]+)", re.UNICODE)
_LITTLE_WORDS = (
    "a all also an and any as at before but by each either every everyone for from he her his how if in it it's its my nobody "
    "of on once only or our please she since so that that's the their then there these they this those to until we what when "
    "where which while who with yes you your"
)
_FUNCTION_WORDS = frozenset(_LITTLE_WORDS.split())
_EXACT_WORDS = frozenset(f"{_DAYS_AND_MONTHS} {_NUMBER_WORDS}".split())


def exact_parts(text: str) -> set[str]:
    """The numbers, dates, names and negations of a text: what must not be wrong in an answer."""
    parts = {match.replace(",", "") for match in _NUMBER.findall(text)}
    parts |= {match.lower() for match in _NAME.findall(text)}
    parts |= {word.lower() for word in _WORD.findall(text) if word.lower() in _EXACT_WORDS}
    return parts


def openings(text: str) -> set[str]:
    """The words that begin its sentences, but for function words: each may be a name, which its capital does not tell."""
    return {match.lower() for match in _OPENING.findall(text)} - _FUNCTION_WORDS


def contradict(one: str, other: str) -> bool:
    """True where either says something exact, or begins with what may be a name, that the other does not say at all."""
    return bool(beyond(one, other) or beyond(other, one))


def beyond(text: str, other: str) -> set[str]:
    """What a text says exactly, or begins a sentence with (it may be a name), that the other does not say at all."""
    return (exact_parts(text) | openings(text)) - exact_parts(other) - {word.lower() for word in _WORD.findall(other)}


def content(text: str) -> set[str]:
    """The words of a text in small letters, function words aside."""
    return {word.lower() for word in _WORD.findall(text)} - _FUNCTION_WORDS


def topic(text: str) -> str:
    """The words of a text that mean something and are not exact: what it is about, in small letters, in their order."""
    left = content(text) - exact_parts(text)
    return " ".join(word for word in map(str.lower, _WORD.findall(text)) if word in left and not word[0].isdigit())


_LEANING = re.compile(
    r"^\W*(?:(?:it|they|he|she)\b|(?:that|this|these|those)(?:['’]s\b|\s+(?:is|are|was|were)\b))|"
    r"\b(?:it|them|that|this|these|those)\W*$",
    re.IGNORECASE,
)
_FIGURE = re.compile(r"^\W*\d")
_SPEAKER = re.compile(r"^[^:]{1,80}: (?=.*\b(?:I|[Mm]y|[Mm]e|[Mm]ine)\b)")
"""The name that `study.statements.spoken` puts before what somebody says of themselves."""


def leans(told: str) -> bool:
    """True where what a person told does not say by itself what it is about: "It's 9:00.", "40 euros.", "Jonas does that."

    Such words are alike without meaning the same: of pairs on two different things half would contradict each other by their
    likeness, of pairs that name their things one in a hundred (lab notes, 2026-11-30, sixth session).
    """
    told = _SPEAKER.sub("", told)
    words = len(told.split())
    return words <= 2 or (words <= 4 and bool(_FIGURE.match(told))) or (words <= 8 and bool(_LEANING.search(told)))


def adds(text: str, other: str) -> bool:
    """True where a text has a word that the other has not, function words aside."""
    return bool(content(text) - content(other))


def agrees(answer: str, statement: str) -> bool:
    """True if the answer says nothing exact that the statement does not say, and is about the same thing.

    Every number, date, name and negation of the answer must stand in the statement, those of the statement that the answer
    leaves out must be few, and half of the answer's words must be the statement's.
    """
    said, known = exact_parts(answer), exact_parts(statement)
    words = {word.lower() for word in _WORD.findall(statement)}
    if not said | openings(answer) <= known | words:
        return False
    answered = [word.lower() for word in _WORD.findall(answer)]
    if known and len(known & said.union(answered)) < 0.6 * len(known):
        return False
    return bool(answered) and sum(word in words for word in answered) >= 0.5 * len(answered)


def recited(answer: str, statement: str) -> bool:
    """True if the answer gives the statement back: nothing exact missing or added, four words in five the same."""
    said, known = exact_parts(answer), exact_parts(statement)
    words = [word.lower() for word in _WORD.findall(statement)]
    given = {word.lower() for word in _WORD.findall(answer)}
    return agrees(answer, statement) and known <= said | given and sum(w in given for w in words) >= 0.8 * len(words)

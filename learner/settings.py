"""Every setting of the learning loop, each with the reason for its default."""

import re
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator, model_validator

LARGER = 768
"""From this hidden size on a model is taught as those of half a billion weights and more are (docs/learning.md)."""
_MOST_GENERAL = 0.8
"""Of what is shown at least a fifth teaches memories."""
_REPLAY_TOKENS, _READING_TOKENS = 110, 200
"""Of a replayed answer with its prompt, and of a reading row of three notes (docs/lab-notes.md, 2026-11-30)."""


class LearningSettings(BaseModel):
    """How a night studies, how the exam judges and how sure a route must be.

    The defaults are those measured on two cores with the 135M default model (docs/lab-notes.md). What depends on the
    model's size is derived from it (`learning_rate_for`), so that another Transformer needs no hand-tuning.
    """

    model_config = ConfigDict(extra="forbid")

    night_minutes: float = Field(
        default=30.0,
        gt=0,
        description="Training budget of one night in minutes; select takes as many memories as fit into it. "
        "Example: 5 minutes at 300 tokens a second are 90,000 tokens: about 104 memories of 72 tokens (replay too), seen 12 times.",
    )
    exposures: int = Field(
        default=7,
        ge=2,
        description="How often a memory is shown in training on average: select takes no more memories than the budget can show "
        "so often. 160 memories shown 7 times: 154 recited; 1,900 shown 5 times: 55 of 100.",
    )
    most_exposures: int = Field(
        default=20,
        ge=2,
        description="How often at most, on average: where the budget has room, few memories are shown more often, until all are "
        "known.",
    )
    cue_share: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of a memory's showings that ask its cue; the rest are other phrasings. None derives it from the model's "
        "width (`cue_share_for`).",
    )
    replay_share: float = Field(
        default=0.15,
        ge=0,
        lt=1,
        description="General prompts with the base model's own answers, as a share of what is shown in training. With 20 memories "
        "0 left 14 of 34 base skills, 0.15 left 31, and 0.4 no more. Where little is shown it is more (`replay_share_for`).",
    )
    reading_share: float = Field(
        default=0.03,
        ge=0,
        lt=1,
        description="Share of what is shown that teaches to read: notes with distractors in view, the answer in one (RAFT).",
    )
    unknown_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of those whose notes hold no answer, to be answered by `I don't know`. None derives it from the model's "
        "width (`unknown_share_for`).",
    )
    max_memories: int = Field(
        default=2000, ge=1, description="Most memories the weights hold; the rest stays in the notes."
    )
    phrasings: int | None = Field(
        default=None,
        ge=1,
        le=10,
        description="Questions written for each memory before filtering; each costs about 0.2 s here. None derives it from the "
        "model's width (`phrasings_for`).",
    )
    asking_share: float = Field(
        default=0.25,
        gt=0,
        description="Share of the night's minutes that may be spent, beside them, on writing questions; more only where training "
        "would not need all of its minutes. What is not reached is asked about in the nights after.",
    )
    teacher: str | None = Field(
        default=None,
        min_length=1,
        description="Who writes the questions in the base model's place: the base URL of an OpenAI-compatible API (what may be "
        "studied is sent there), say `http://gpu.example:8000/v1`, or a folder or name of a larger Transformer, as for `model`.",
    )
    teacher_model: str | None = Field(
        default=None,
        validate_default=True,
        description="The teacher's model, where `teacher` is a URL, say `Qwen/Qwen3-32B`.",
    )
    teacher_key: SecretStr | None = Field(
        default=None,
        description="Key of the teacher's API, say `sk-…`; servers of your own mostly need none. Better in the environment than "
        "in a file.",
    )
    rank: int = Field(default=32, ge=1, description="LoRA rank: r=32 held 210 facts of a real handbook (LEARNING.md).")
    learning_rate: float | None = Field(
        default=None,
        description="Peak SFT learning rate; None derives it from the model's width and the showings (`learning_rate_for`).",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        description="Most examples a step: small batches learn more a token; with few examples it shrinks so that there are at "
        "least `least_steps` of them.",
    )
    least_steps: int = Field(
        default=120, ge=1, description="Fewer steps than this move an adapter too little (15 steps: 6% recited)."
    )
    dpo_learning_rate: float = Field(
        default=2e-5, gt=0, description="DPO follows SFT on the same facts; larger rates wiped untouched memories."
    )
    dpo_beta: float = Field(default=0.1, gt=0, description="Strength of the pull towards the SFT adapter in DPO.")
    dpo_epochs: float = Field(default=2.0, gt=0, description="Showings of a preference pair on which all agree.")
    seed: int = Field(default=0, description="Seed of sampling, shuffling and initialisation.")
    training_threads: int | None = Field(
        default=None, ge=1, description="CPU threads of the training process; None: all cores."
    )

    weights_threshold: float = Field(
        default=0.55,
        ge=0,
        le=1,
        description="Least certainty of a match (score and lead, about 0 to 1) at which one memory is told alone; below it up "
        "to `evidence` of them are. An exam may raise it by up to 0.15. At 0.55 nine of ten matches were right on two teams.",
    )
    notes_threshold: float = Field(
        default=0.37,
        ge=0,
        le=1,
        description="Least similarity of the nearest passage; below it the answer is `I don't know`. On the sample team 0.40 "
        "declines 5 of 16 unanswerable questions and 6% of those it could answer, 0.44 declines 9 and 13%, 0.35 1 and 1%.",
    )
    least_confidence: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Geometric mean token probability below which an answer from the weights that is not grounded gives way to the "
        "notes; above it the statement is quoted instead.",
    )
    evidence: int = Field(
        default=3,
        ge=1,
        le=8,
        description="Statements told at most in one answer, from the notes or in doubt from the weights.",
    )
    max_answer_tokens: int = Field(default=96, ge=8, description="Longest generated answer in tokens.")
    max_question_characters: int = Field(
        default=4000, ge=100, description="Longer questions are refused with a clear message."
    )

    release_learnt: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Least share of the studied memories a candidate must recite to be released.",
    )
    release_skills: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Least share of 50 general prompts that a candidate must answer right, of as many as the base model does.",
    )
    release_perplexity: float = Field(
        default=20.0,
        ge=1,
        description="Most that plain text may perplex a candidate, as a multiple of what it does the base model: it was 4.6 "
        "in a night of 120 memories whose adapter recited three in four.",
    )
    release_style: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Least share of a candidate's answers that must end by themselves and be no longer than half as much again as "
        "what it studied.",
    )
    release_retained: float = Field(
        default=0.95,
        ge=0,
        le=1,
        description="Least share of what the serving version knew (and is still wanted) that a candidate must know.",
    )

    @field_validator("teacher")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is None or not _is_url(value):
            return value
        parts = urlsplit(value)
        if not parts.hostname or parts.port == 0 or not re.fullmatch(r"[!-~]+", value):
            raise ValueError("no such address can be; write one like http://gpu.example:8000/v1")
        if "@" in parts.netloc or parts.query:
            raise ValueError("neither a password nor a query belongs in the address; the key is learning.teacher_key")
        return value

    @field_validator("teacher_model")
    @classmethod
    def _named(cls, value: str | None, info: ValidationInfo) -> str | None:
        if not value and _is_url(info.data.get("teacher")):
            raise ValueError("a teacher by URL needs the name of its model, as its API lists it")
        return value

    @field_validator("teacher_key")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        plain = value.get_secret_value().strip() if value else ""
        if not re.fullmatch(r"[!-~]*", plain):
            raise ValueError("a key is of plain letters, digits and signs, without spaces")
        return SecretStr(plain) if plain else None

    @model_validator(mode="after")
    def _leaves_room_for_memories(self) -> Self:
        if self.replay_share + self.reading_share > _MOST_GENERAL:
            raise ValueError(f"replay_share and reading_share together may be {_MOST_GENERAL} at most")
        return self

    @property
    def teacher_is_remote(self) -> bool:
        """Whether the teacher is an API, which statements are sent to."""
        return _is_url(self.teacher)

    def learning_rate_for(self, width: int) -> float:
        """Peak SFT learning rate for a model of hidden size `width` that is shown each memory `exposures` times or less.

        2.5e-3 at width 576 (measured with batches of 8), falling faster than the square root of the width: about 1.8e-3 at 896,
        5.4e-4 at 4096. LoRA wants about ten times full finetuning's rate, whatever its rank (LoRA Without Regret, 2025).
        Where there is time for more, the training lowers it in proportion, for smaller steps then reach the same and cost the base
        model less: 20 memories with room for 12 were all recited at 2.5e-3, 1.25e-3 and 8e-4, with 27, 35 and 34 of 37 skills.
        """
        return self.learning_rate or 2.5e-3 * (576 / width) ** 0.78

    def cue_share_for(self, width: int) -> float:
        """Share of a memory's showings that ask its cue, for a model of hidden size `width`.

        A small model learns one question a memory or none: the cue alone recited 120 of 160, four in five 74. A larger one
        answers in other words too (LEARNING.md: 9 of 15 without a cue at 0.5B), so half of what it sees are other phrasings.
        """
        return self.cue_share or (1.0 if width < LARGER else 0.5)

    def phrasings_for(self, width: int) -> int:
        """Questions written for each memory: ten where other phrasings are trained (2404.00213), else a cue, a quiz, a spare."""
        return self.phrasings or (3 if self.cue_share_for(width) == 1.0 else 10)

    def unknown_share_for(self, width: int) -> float:
        """Share of the reading rows that hold no answer: a small model that learnt to decline declined 47 of 70 it could answer."""
        return (0.0 if width < LARGER else 0.2) if self.unknown_share is None else self.unknown_share

    def replay_share_for(self, showings: int) -> float:
        """Share of replay among what is shown where memories need so many `showings` in all: at least 64 replayed answers.

        With few memories their number, not their share, saves the base model's skills; as many more as the share is set higher.
        Example: 20 memories at 7 showings are 140: 0.31.
        """
        least = 64 * self.replay_share / 0.15
        most = _MOST_GENERAL - self.reading_share
        return min(most, max(self.replay_share, least / (least + max(1, showings)))) if self.replay_share else 0.0

    def general_tokens_for(self, showings: int) -> float:
        """Trained tokens of replay and reading that go with each of so many showings of a memory.

        Example: 1,000 showings, 0.15 and 0.03: 27, beside the memory's own 50.
        """
        replay, reading = self.replay_share_for(showings), self.reading_share
        return (replay * _REPLAY_TOKENS + reading * _READING_TOKENS) / (1 - replay - reading)


def _is_url(value: str | None) -> bool:
    return bool(value) and str(value).lower().startswith(("http://", "https://"))

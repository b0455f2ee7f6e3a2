"""Every setting of the learning loop, each with the reason for its default."""

import re
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator


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
        "Example: 5 minutes at 300 tokens a second are 90,000 tokens: about 160 memories of 45 tokens, seen 12 times.",
    )
    exposures: int = Field(
        default=14,
        ge=2,
        description="How often a memory is seen in training at least, over all its phrasings: select takes no more memories "
        "than the budget can show so often.",
    )
    most_exposures: int = Field(
        default=30,
        ge=2,
        description="How often at most: where the budget has room, few memories are seen more often and learnt more surely.",
    )
    cue_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of the exposures that ask the cue; the rest are other phrasings. With 12 exposures of 90 memories "
        "0.8 recited 81 on cue, 0.5 only 63; a model that understands questions in other words may want less.",
    )
    replay_share: float = Field(
        default=0.15,
        ge=0,
        le=1,
        description="General prompts with the base model's own answers among the training examples, as a share of the others. "
        "With 20 memories 0 left 14 of 34 base skills, 0.15 left 31, and 0.4 no more.",
    )
    max_memories: int = Field(
        default=2000, ge=1, description="Most memories the weights hold; the rest stays in the notes."
    )
    phrasings: int = Field(
        default=4, ge=1, description="Questions written for each memory before filtering; each costs about 0.1 s here."
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
        description="Peak SFT learning rate; None derives it from the model's width (`learning_rate_for`).",
    )
    batch_size: int = Field(
        default=16,
        ge=1,
        description="Most examples a step; with few examples it shrinks so that there are at least `least_steps` of them.",
    )
    least_steps: int = Field(
        default=120, ge=1, description="Fewer steps than this move an adapter too little (15 steps: 6% recited)."
    )
    dpo_learning_rate: float = Field(
        default=2e-5, gt=0, description="DPO follows SFT on the same facts; larger rates wiped untouched memories."
    )
    dpo_beta: float = Field(default=0.1, gt=0, description="Strength of the pull towards the SFT adapter in DPO.")
    dpo_epochs: float = Field(default=2.0, gt=0, description="Passes over the preference pairs.")
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

    @property
    def teacher_is_remote(self) -> bool:
        """Whether the teacher is an API, which statements are sent to."""
        return _is_url(self.teacher)

    def learning_rate_for(self, width: int) -> float:
        """Peak SFT learning rate for a model of hidden size `width`.

        1.5e-3 at width 576 (measured), falling with the square root of the width: about 1.2e-3 at 896, 5.6e-4 at 4096.
        LoRA wants about ten times full finetuning's rate, whatever its rank (LoRA Without Regret, 2025).
        """
        return self.learning_rate or 1.5e-3 * (576 / width) ** 0.5


def _is_url(value: str | None) -> bool:
    return bool(value) and str(value).lower().startswith(("http://", "https://"))

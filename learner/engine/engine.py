"""The one contract between the rest of Nightschool and whatever runs the model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from storage.errors import NightschoolError

Message = dict[str, str]
"""One turn: {"role": "system" | "user" | "assistant", "content": text}."""


class EngineError(NightschoolError):
    """The model could not do what was asked of it."""


class EngineClosed(EngineError):
    """The engine is closed (or its thread has died): start the program anew."""


class PromptTooLong(EngineError):
    """The prompt leaves no room in the model's context: shorten it, or use a model with a longer one."""


class AdapterUnknown(EngineError):
    """No adapter of that name is loaded: load it first."""


class AdapterNotApplied(EngineError):
    """An adapter changes nothing of what the model says: it was never trained, or does not reach the model's layers."""


class AdapterForeign(EngineError):
    """An adapter was made for another base model, or is of a kind the engine does not run."""


class AdapterCorrupt(EngineError):
    """An adapter's files are missing, truncated, not finite or not safetensors: fetch or train it again."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One reply: its text without the stop token, what it cost, and how sure the model was of each token.

    `completion_tokens` and `logprobs` (natural logarithms, one a token) include the stop token; `seconds` count from
    the call; `finished` is False where `max_tokens` or the end of the context cut the reply.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    logprobs: tuple[float, ...]
    seconds: float
    finished: bool

    @property
    def confidence(self) -> float:
        """Geometric mean of the tokens' probabilities, 0 to 1."""
        return math.exp(sum(self.logprobs) / max(1, len(self.logprobs)))


class Engine(Protocol):
    """A base model that answers with any of its loaded adapters, many requests at a time."""

    @property
    def base_model(self) -> str:
        """The base's identity as manifests record it: name and a hash of config, tokenizer and weights' headers."""

    @property
    def context(self) -> int:
        """Longest prompt and reply together, in tokens."""

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        adapter: str | None = None,
        max_tokens: int = 128,
        on_text: Callable[[str], None] | None = None,
    ) -> Generation:
        """The greedy reply to `messages`; `on_text` gets it piece by piece in the event loop. Cancelling stops it.

        Raises PromptTooLong, AdapterUnknown, EngineClosed.
        """

    async def score(self, messages: Sequence[Message], text: str, *, adapter: str | None = None) -> tuple[float, ...]:
        """Log-probability of each token of `text` as the reply to `messages`. Raises as generate does."""

    async def load(self, name: str, folder: Path) -> float:
        """Makes the adapter in `folder` (peft's format) usable as `name`, beside the others and the answers under way.

        Returns the largest difference of log-probabilities from the base model on a probe.
        Raises AdapterNotApplied, AdapterForeign, AdapterCorrupt; a failed load changes nothing.
        """

    async def unload(self, name: str) -> None:
        """Forgets the adapter once the answers under way with it are done; new requests for it raise AdapterUnknown."""

    def loaded(self) -> tuple[str, ...]:
        """Names that generate accepts."""

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of `messages`, chat template included."""

    async def close(self) -> None:
        """Ends the engine; requests under way raise EngineClosed."""

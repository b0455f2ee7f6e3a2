"""From lines of conversation to token ids: what the model reads, and which of it is trained."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from learner.engine.engine import EngineError, Message
from learner.engine.prompts import Prompts
from learner.training.errors import TrainingStopped

IGNORED = -100
"""The label of a token that is read and not trained (PyTorch's and TRL's convention)."""


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a JSONL file; raises TrainingStopped naming the first bad line."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                example = json.loads(line)
                if not isinstance(example, dict) or not isinstance(example.get("prompt"), list):
                    raise ValueError("an object with a list under 'prompt' is expected")
            except ValueError as error:
                raise TrainingStopped(
                    f"{path}, line {number}: not a training example ({error}). Write the file anew."
                ) from None
            yield example


class Encoder:
    """Renders prompts and answers exactly as the engine does when it serves (learner.engine.prompts)."""

    def __init__(self, prompts: Prompts, tokenizer: Any) -> None:
        self.prompts = prompts
        self.end = _end_of_turn(prompts, tokenizer)

    def encode(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        """Token ids of the prompt and of the answer with its end-of-turn token; raises TrainingStopped."""
        try:
            prompt = self.prompts.render(messages)
            return prompt, [*self.prompts.reply(prompt, messages, answer), self.end]
        except EngineError as error:
            raise TrainingStopped(str(error)) from error


def _end_of_turn(prompts: Prompts, tokenizer: Any) -> int:
    """The token that the chat template ends a reply with, or else the model's end token."""
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    written = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    for token in written[len(prompts.render(messages[:1])) :]:
        if token in prompts.stops:
            return int(token)
    if tokenizer.eos_token_id is not None:
        return int(tokenizer.eos_token_id)
    if prompts.stops:
        return min(prompts.stops)
    raise TrainingStopped("the model names no token that ends a reply. Set eos_token_id in its generation_config.json.")

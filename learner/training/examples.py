"""From lines of conversation to token ids: what the model reads, and which of it is trained."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from learner.training.errors import TrainingStopped

Message = dict[str, str]

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
    """Renders prompts and completions with the model's own chat template.

    `tokenizer` is the model's, `end_ids` are the token ids that may end a turn.
    """

    def __init__(self, tokenizer: Any, end_ids: Sequence[int]) -> None:
        self.tokenizer = tokenizer
        self.end_ids = frozenset(end_ids)

    def encode(self, prompt: list[Message], completion: str) -> tuple[list[int], list[int]]:
        """Token ids of the prompt and of the completion with its end-of-turn token."""
        before = self._render(prompt, generation=True)
        whole = self._render([*prompt, {"role": "assistant", "content": completion}], generation=False)
        shared = 0
        for left, right in zip(before, whole, strict=False):
            if left != right:
                break
            shared += 1
        answer = whole[shared:]
        # What a template writes after the turn's end (SmolLM2: a newline) is the next turn's, never generated.
        ends = [index for index, token in enumerate(answer) if token in self.end_ids]
        answer = answer[: ends[-1] + 1] if ends else [*answer, *sorted(self.end_ids)[:1]]
        return whole[:shared], answer

    def _render(self, messages: list[Message], *, generation: bool) -> list[int]:
        if self.tokenizer.chat_template:
            ids: list[int] = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=generation, tokenize=True, return_dict=False
            )
            return ids
        text = "".join(f"{message['role']}: {message['content']}\n" for message in messages)
        ids = self.tokenizer(text + ("assistant:" if generation else "")).input_ids
        return ids

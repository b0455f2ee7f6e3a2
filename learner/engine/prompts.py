"""Messages to tokens and tokens to text, as the model's own tokenizer and chat template have it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer

from learner.engine.engine import EngineError, Message

PLAIN_TEMPLATE = (
    "{{ bos_token if bos_token else '' }}"
    "{% for message in messages %}"
    "{{ message['role'] }}:\n{{ message['content'] }}{{ eos_token if message['role'] == 'assistant' }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
"""For models without a chat template: "role:", the content on the next line, and the end token after a reply.

The content has a line of its own because a trailing space after "assistant:" splits words in ways the model never saw.
"""

_PROBE = "nightschool"


def load_tokenizer(folder: Path) -> Any:
    """The model's tokenizer; where it has no chat template, PLAIN_TEMPLATE is set (training must use the same)."""
    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


class Prompts:
    """A tokenizer with the model's stop tokens. Used by one thread (the event loop's)."""

    def __init__(self, tokenizer: Any, generation_stops: int | Sequence[int] | None) -> None:
        self._tokenizer = tokenizer
        stops = [generation_stops] if isinstance(generation_stops, int) else list(generation_stops or ())
        if tokenizer.eos_token_id is not None:
            stops.append(tokenizer.eos_token_id)
        if (end := self._end_of_turn()) is not None:
            stops.append(end)
        self.stops = frozenset(stops)

    def render(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of `messages` up to where the assistant's reply begins. Raises EngineError."""
        return self._apply(list(messages), add_generation_prompt=True)

    def reply(self, prompt: list[int], messages: Sequence[Message], text: str) -> list[int]:
        """Token ids of `text` as the reply to `messages`, without the end of turn."""
        whole = self._apply([*messages, {"role": "assistant", "content": text}], add_generation_prompt=False)
        if whole[: len(prompt)] == prompt:
            rest = whole[len(prompt) :]
            return rest[: next((i for i, token in enumerate(rest) if token in self.stops), len(rest))]
        # Some templates (Qwen3's) show past replies differently from the one being written.
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids` without special tokens."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _apply(self, messages: list[Message], *, add_generation_prompt: bool) -> list[int]:
        def render(these: list[Message]) -> list[int]:
            return list(
                self._tokenizer.apply_chat_template(
                    these, add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=False
                )
            )

        try:
            return render(messages)
        except TemplateError as first:
            try:  # templates without a system role, or that insist on turns taken strictly in turn
                return render(_alternating(messages))
            except TemplateError:
                raise EngineError(f"The model's chat template refuses these messages: {first}") from first

    def _end_of_turn(self) -> int | None:
        """The special token that the chat template writes after a reply, if it writes one."""
        try:
            text = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": "?"}, {"role": "assistant", "content": _PROBE}], tokenize=False
            )
        except TemplateError:
            return None
        after = text[text.rfind(_PROBE) + len(_PROBE) :]
        special = self._tokenizer.added_tokens_decoder
        ids = self._tokenizer(after, add_special_tokens=False)["input_ids"]
        return next((token for token in ids if token in special and special[token].special), None)


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """The same words with the system's put before the user's, and neighbours of one role joined."""
    joined: list[Message] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if joined and joined[-1]["role"] == role:
            joined[-1] = {"role": role, "content": joined[-1]["content"] + "\n\n" + message["content"]}
        else:
            joined.append({"role": role, "content": message["content"]})
    return joined


class TextStream:
    """Tokens one at a time to text piece by piece: whole characters only, no white space before the first word."""

    def __init__(self, prompts: Prompts, on_text: Callable[[str], None] | None) -> None:
        self._prompts, self._on_text = prompts, on_text
        self._ids: list[int] = []
        self._context = 0  # where decoding starts: some tokens back, as a token's text depends on those before it
        self._shown = 0  # tokens whose text is out
        self._pieces: list[str] = []

    @property
    def text(self) -> str:
        """All that is out so far."""
        return "".join(self._pieces)

    def push(self, token: int) -> None:
        """Takes the next token, and gives what has become certain to `on_text`."""
        self._ids.append(token)
        self._advance(last=False)

    def end(self) -> None:
        """Gives what is left; half a character at the end of a cut reply is dropped."""
        self._advance(last=True)

    def _advance(self, *, last: bool) -> None:
        before = self._prompts.decode(self._ids[self._context : self._shown])
        now = self._prompts.decode(self._ids[self._context :])
        half = now.endswith("�")
        if half and last:
            now = now.rstrip("�")
        if len(now) <= len(before) or (half and not last):
            return
        piece = now[len(before) :]
        self._context, self._shown = self._shown, len(self._ids)
        if not self._pieces:
            piece = piece.lstrip()
        if piece:
            self._pieces.append(piece)
            if self._on_text is not None:
                self._on_text(piece)

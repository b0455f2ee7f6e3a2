"""The engine's contract, the same for every architecture: what transformers and peft say alone, it says in a batch."""

import asyncio
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from learner.engine import decoding
from learner.engine.engine import Generation
from learner.engine.local import LocalEngine
from learner.engine.prompts import Prompts, load_tokenizer

# peft asks transformers by a name that transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

QUESTIONS = (
    "Hi",
    "What is the door code of the new office?",
    "When does the kitchen close, and who has the key to the door of the office on Fridays after six? " * 2,
    "ok?",
    "Naïve 🦉 öäü",
)
NEW_TOKENS = 24


def conversation(question: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]


class Reference:
    """transformers' own generate, one prompt at a time, with peft's own adapters."""

    def __init__(self, tiny: Any) -> None:
        self.tokenizer = load_tokenizer(tiny.folder)
        model = AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
        self.prompts = Prompts(self.tokenizer, model.generation_config.eos_token_id)
        first, *others = tiny.adapters
        self.model = peft.PeftModel.from_pretrained(model, tiny.adapters[first], adapter_name=first)
        for name in others:
            self.model.load_adapter(tiny.adapters[name], adapter_name=name)
        self.model.eval()

    def reply(self, question: str, adapter: str | None) -> tuple[str, int]:
        prompt = torch.tensor([self.prompts.render(conversation(question))])
        options = {
            "max_new_tokens": NEW_TOKENS,
            "do_sample": False,
            "eos_token_id": sorted(self.prompts.stops),
            "attention_mask": torch.ones_like(prompt),
        }
        if adapter is None:
            with self.model.disable_adapter():
                whole = self.model.generate(prompt, **options)
        else:
            self.model.set_adapter(adapter)
            whole = self.model.generate(prompt, **options)
        made = whole[0, prompt.shape[1] :].tolist()
        return self.tokenizer.decode(made, skip_special_tokens=True), len(made)


@pytest.fixture(scope="session")
def reference(tiny: Any) -> Reference:
    return Reference(tiny)


def check(generation: Generation, expected: tuple[str, int]) -> None:
    text, tokens = expected
    assert generation.completion_tokens == len(generation.logprobs) == tokens
    assert generation.text == text.lstrip().rstrip("�")
    assert generation.finished or tokens == NEW_TOKENS


async def ask(engine: LocalEngine, question: str, adapter: str | None = None, after: float = 0) -> Generation:
    await asyncio.sleep(after)
    return await engine.generate(conversation(question), adapter=adapter, max_tokens=NEW_TOKENS)


@pytest.mark.parametrize("pieces", [512, 48], ids=["prompt at once", "prompt in pieces"])
async def test_equals_transformers_alone_and_in_company(
    tiny: Any, reference: Reference, start: Callable[..., LocalEngine], pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", pieces)
    engine = start(tiny.folder)
    expected = [reference.reply(question, None) for question in QUESTIONS]
    for question, reply in zip(QUESTIONS, expected, strict=True):
        check(await ask(engine, question), reply)
    # Together, some of them joining while the others are being answered.
    together = await asyncio.gather(*[ask(engine, q, after=0.004 * i) for i, q in enumerate(QUESTIONS)])
    for generation, reply in zip(together, expected, strict=True):
        check(generation, reply)


async def test_mixed_adapters_equal_peft_one_at_a_time(
    tiny: Any, reference: Reference, start: Callable[..., LocalEngine]
) -> None:
    engine = start(tiny.folder)
    for name, folder in tiny.adapters.items():
        assert await engine.load(name, folder) > 0
    cases = [(q, a) for q in QUESTIONS[:3] for a in (None, *tiny.adapters)]
    together = await asyncio.gather(*[ask(engine, q, a, after=0.002 * i) for i, (q, a) in enumerate(cases)])
    for (question, adapter), generation in zip(cases, together, strict=True):
        check(generation, reference.reply(question, adapter))
    assert len({generation.text for generation in together}) > len(QUESTIONS[:3])
    alone = await ask(engine, QUESTIONS[1], "large")
    assert alone.text == together[cases.index((QUESTIONS[1], "large"))].text


async def test_scores_equal_the_chances_of_generation(tiny: Any, start: Callable[..., LocalEngine]) -> None:
    engine = start(tiny.folder)
    await engine.load("large", tiny.adapters["large"])
    texts = ["The door code is four.", "It closes at six, and nobody has the key."]
    scores = await asyncio.gather(
        *[engine.score(conversation(QUESTIONS[1]), text, adapter=a) for text in texts for a in (None, "large")]
    )
    assert len(scores[0]) == len(scores[1]) < len(scores[2])
    assert scores[0] != scores[1]
    assert scores[0] == pytest.approx(await engine.score(conversation(QUESTIONS[1]), texts[0]), abs=1e-4)

    model = AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32)
    prompts = Prompts(load_tokenizer(tiny.folder), model.generation_config.eos_token_id)
    prompt = prompts.render(conversation(QUESTIONS[1]))
    reply = prompts.reply(prompt, conversation(QUESTIONS[1]), texts[0])
    assert prompts.decode(reply) == texts[0]
    with torch.no_grad():
        chances = model(torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    expected = chances.gather(1, torch.tensor(reply)[:, None])[:, 0].tolist()
    assert scores[0] == pytest.approx(expected, abs=1e-4)


async def test_context_and_stops_come_from_the_model(tiny: Any, start: Callable[..., LocalEngine]) -> None:
    engine = start(tiny.folder)
    assert engine.context == 256
    tokenizer = load_tokenizer(tiny.folder)
    own_template = "<|end|>" in tokenizer.chat_template
    expected = {"</s>", "<|end|>"} if own_template else {"</s>"}
    assert {tokenizer.convert_ids_to_tokens(token) for token in engine._prompts.stops} == expected
    generation = await engine.generate(conversation("Hi"), max_tokens=1000)
    assert generation.prompt_tokens == engine.count(conversation("Hi"))
    assert generation.finished or generation.prompt_tokens + generation.completion_tokens == 256


def test_rows_join_and_leave_without_changing_what_others_say(tiny: Any, reference: Reference) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny.folder, dtype=torch.float32).eval()
    said: dict[int, list[int]] = {}

    def row(number: int, tokens: int) -> decoding.Row:
        prompt = reference.prompts.render(conversation(QUESTIONS[number]))
        made = said.setdefault(number, [])
        note = lambda token, chance: made.append(token)  # noqa: E731
        return decoding.Row(prompt, None, (), tokens, note, lambda by_itself: None, lambda error: None)

    def filled(*rows: decoding.Row) -> decoding.Batch:
        batch = decoding.Batch.of(model, list(rows))
        while not batch.filled:
            batch.advance()
        return batch

    batch = filled(row(0, 40), row(2, 9))  # the long one leaves first, and its columns with it
    for _ in range(5):
        batch.advance()
    assert batch.joinable
    batch.join(filled(row(1, 30)))
    width = batch.width
    for _ in range(6):
        batch.advance()
    assert [len(made) for made in said.values()] == [12, 9, 7]
    assert batch.width < width
    batch.join(filled(row(3, 12), row(4, 3)))
    while batch.rows:
        batch.advance()
    for number, made in said.items():
        prompt = torch.tensor([reference.prompts.render(conversation(QUESTIONS[number]))])
        options = {"max_new_tokens": len(made), "min_new_tokens": len(made), "eos_token_id": None}
        whole = model.generate(prompt, do_sample=False, attention_mask=torch.ones_like(prompt), **options)
        assert whole[0, prompt.shape[1] :].tolist() == made

"""What a user of the engine would notice: streaming, swapping, eviction, cancelling, bad adapters, closing."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from learner.engine import worker
from learner.engine.engine import (
    AdapterCorrupt,
    AdapterForeign,
    AdapterNotApplied,
    AdapterUnknown,
    EngineClosed,
    EngineError,
    PromptTooLong,
)
from learner.engine.local import LocalEngine
from learner.engine.packaged import ModelMissing
from learner.engine.prompts import Prompts, TextStream, load_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

Start = Callable[..., LocalEngine]
HELLO = [{"role": "user", "content": "What is the door code of the new office?"}]


def altered(source: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """A copy of an adapter with its weights changed."""
    folder.mkdir()
    tensors = load_file(source / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    return folder


def configured(source: Path, folder: Path, **config: object) -> Path:
    """A copy of an adapter with its configuration changed."""
    folder = altered(source, folder, lambda tensors: None)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return folder


async def test_text_streams_in_the_loop_and_adds_up(llama: Any, start: Start) -> None:
    engine = start(llama.folder)
    pieces: list[str] = []
    reply = await engine.generate(HELLO, max_tokens=40, on_text=pieces.append)
    assert len(pieces) > 5
    assert "".join(pieces) == reply.text
    assert all(chance <= 0 for chance in reply.logprobs)
    assert reply.seconds > 0


def test_a_character_is_never_shown_in_halves(llama: Any) -> None:
    prompts = Prompts(load_tokenizer(llama.folder), None)
    text = "a 🦉🦔 日本 öx"
    ids = prompts._tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces: list[str] = []
    stream = TextStream(prompts, pieces.append)
    for token in ids:
        stream.push(token)
    assert "".join(pieces) == text
    assert not any("�" in piece for piece in pieces)
    cut = TextStream(prompts, None)
    for token in prompts._tokenizer("ab 🦔", add_special_tokens=False)["input_ids"][:-1]:
        cut.push(token)
    cut.end()
    assert cut.text == "ab "


async def test_stop_tokens_end_a_reply_and_stay_out_of_it(llama: Any, tmp_path: Path, start: Start) -> None:
    whole = await start(llama.folder).generate(HELLO, max_tokens=20)
    tokenizer = load_tokenizer(llama.folder)
    folder = tmp_path / "stops"
    folder.mkdir()
    for file in llama.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "generation_config.json").read_text())
    ids = [token for token in range(5, len(tokenizer)) if tokenizer.decode([token]) == whole.text[:1]]
    settings["eos_token_id"] = [2, *range(5, len(tokenizer))] if not ids else [2, ids[0]]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    reply = await start(folder).generate(HELLO, max_tokens=20)
    assert reply.finished
    assert reply.completion_tokens < 20
    assert whole.text.startswith(reply.text)


async def test_a_prompt_that_is_too_long_is_refused_with_its_length(llama: Any, start: Start) -> None:
    engine = start(llama.folder)
    long = [{"role": "user", "content": "door code " * 400}]
    with pytest.raises(PromptTooLong, match=rf"{engine.count(long)} tokens .* 256"):
        await engine.generate(long)
    with pytest.raises(PromptTooLong, match="256"):
        await engine.score(HELLO, "door code " * 400)
    with pytest.raises(ValueError, match="max_tokens"):
        await engine.generate(HELLO, max_tokens=0)


async def test_unknown_adapters(llama: Any, start: Start) -> None:
    engine = start(llama.folder)
    with pytest.raises(AdapterUnknown, match="nobody"):
        await engine.generate(HELLO, adapter="nobody")
    with pytest.raises(AdapterUnknown):
        await engine.unload("nobody")


async def test_a_swap_drops_no_answer(llama: Any, start: Start) -> None:
    engine = start(llama.folder)
    await engine.load("old", llama.adapters["small"])
    before = await engine.generate(HELLO, adapter="old", max_tokens=150)
    answering = [asyncio.create_task(engine.generate(HELLO, adapter="old", max_tokens=150)) for _ in range(6)]
    await asyncio.sleep(0.01)
    assert await engine.load("new", llama.adapters["large"]) > 0
    unloading = asyncio.create_task(engine.unload("old"))
    await asyncio.sleep(0)
    assert engine.loaded() == ("new",)
    with pytest.raises(AdapterUnknown):
        await engine.generate(HELLO, adapter="old")
    after = await engine.generate(HELLO, adapter="new", max_tokens=20)
    assert [reply.text for reply in await asyncio.gather(*answering)] == [before.text] * 6
    await unloading
    assert after.text != before.text[: len(after.text)]
    # The same version twice (told at start and by a notification) is one; another folder by that name is a mistake.
    assert await engine.load("new", llama.adapters["large"]) > 0
    with pytest.raises(EngineError, match="unload it first"):
        await engine.load("new", llama.adapters["small"])


async def test_cancelling_frees_the_row(llama: Any, start: Start) -> None:
    engine = start(llama.folder, max_batch=1)
    await engine.load("a", llama.adapters["small"])
    first = asyncio.create_task(engine.generate(HELLO, adapter="a", max_tokens=200))
    await asyncio.sleep(0.02)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert (await engine.generate(HELLO, max_tokens=3)).completion_tokens <= 3
    await engine.unload("a")
    assert engine.loaded() == ()


async def test_eviction_is_not_noticed(llama: Any, start: Start) -> None:
    names = list(llama.adapters)
    free = start(llama.folder)
    for name in names:
        await free.load(name, llama.adapters[name])
    expected = [(await free.generate(HELLO, adapter=name, max_tokens=12)).text for name in names]
    largest = max(known.bytes for known in free._known.values())

    tight = start(llama.folder, memory_bytes=largest)
    for name in names:
        await tight.load(name, llama.adapters[name])
    assert tight.loaded() == tuple(names)
    replies = await asyncio.gather(*[tight.generate(HELLO, adapter=name, max_tokens=12) for name in names * 3])
    assert [reply.text for reply in replies] == expected * 3
    assert sum(tight._known[name].bytes for name in names if name in tight._bank) <= largest
    with pytest.raises(EngineError, match="memory_bytes"):
        await start(llama.folder, memory_bytes=100).load("large", llama.adapters["large"])


async def test_an_evicted_adapter_whose_folder_is_gone_says_so(llama: Any, tmp_path: Path, start: Start) -> None:
    folder = altered(llama.adapters["small"], tmp_path / "gone", lambda tensors: None)
    engine = start(llama.folder)
    await engine.load("gone", folder)
    engine._memory_bytes = engine._known["gone"].bytes
    await engine.load("other", altered(llama.adapters["small"], tmp_path / "other", lambda t: None))
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(AdapterCorrupt, match="fetch it again"):
        await asyncio.wait_for(engine.generate(HELLO, adapter="gone"), 10)
    assert (await engine.generate(HELLO, adapter="other", max_tokens=2)).completion_tokens == 2


def _not_a_number(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values()))[0, 0] = float("nan")


def _untrained(tensors: dict[str, torch.Tensor]) -> None:
    for name in tensors:
        if "lora_B" in name:
            tensors[name].zero_()


def _wider(tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name in tensors if "lora_A" in name)
    tensors[name] = torch.ones(tensors[name].shape[0], tensors[name].shape[1] + 1)


def _halved(tensors: dict[str, torch.Tensor]) -> None:
    del tensors[next(name for name in tensors if "lora_A" in name)]


def _deeper(tensors: dict[str, torch.Tensor]) -> None:
    for name in list(tensors):
        tensors[name.replace("layers.0", "layers.9")] = tensors.pop(name)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (_not_a_number, AdapterCorrupt),
        (_untrained, AdapterNotApplied),
        (_wider, AdapterForeign),
        (_deeper, AdapterForeign),
        (_halved, AdapterCorrupt),
        (dict.clear, AdapterCorrupt),
    ],
)
async def test_bad_weights_are_refused(
    llama: Any, tmp_path: Path, start: Start, change: Callable[..., None], error: type[Exception]
) -> None:
    engine = start(llama.folder)
    await engine.load("good", llama.adapters["small"])
    with pytest.raises(error):
        await engine.load("bad", altered(llama.adapters["large"], tmp_path / "bad", change))
    assert engine.loaded() == ("good",)
    assert (await engine.generate(HELLO, adapter="good", max_tokens=2)).text


@pytest.mark.parametrize(
    "config",
    [
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"init_lora_weights": "pissa"},
        {"peft_type": "IA3"},
        {"alpha_pattern": {"q_proj": 3}},
    ],
)
async def test_other_kinds_of_adapter_are_refused(
    llama: Any, tmp_path: Path, start: Start, config: dict[str, object]
) -> None:
    with pytest.raises(AdapterForeign, match=next(iter(config))):
        await start(llama.folder).load("odd", configured(llama.adapters["small"], tmp_path / "odd", **config))


async def test_damaged_and_foreign_folders_are_refused(llama: Any, tmp_path: Path, start: Start) -> None:
    engine = start(llama.folder)
    source = llama.adapters["small"]

    def copy(name: str) -> Path:
        return altered(source, tmp_path / name, lambda tensors: None)

    foreign = copy("foreign")
    (foreign / "manifest.json").write_text(json.dumps({"base_model": "another-0123"}))
    with pytest.raises(AdapterForeign, match="another-0123"):
        await engine.load("x", foreign)
    (foreign / "manifest.json").write_text(json.dumps({"base_model": engine.base_model}))
    assert await engine.load("x", foreign) > 0

    cut = copy("cut")
    content = (cut / "adapter_model.safetensors").read_bytes()
    for length in (0, 5, len(content) // 2):
        (cut / "adapter_model.safetensors").write_bytes(content[:length])
        with pytest.raises(AdapterCorrupt, match="cut"):
            await engine.load("y", cut)

    pickled = copy("pickled")
    (pickled / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(AdapterCorrupt, match="pickle"):
        await engine.load("y", pickled)

    garbled = copy("garbled")
    (garbled / "adapter_config.json").write_text("{")
    with pytest.raises(AdapterCorrupt):
        await engine.load("y", garbled)
    with pytest.raises(AdapterCorrupt, match=r"adapter_config\.json"):
        await engine.load("y", tmp_path / "nowhere")
    assert engine.loaded() == ("x",)


async def test_closing_tells_those_who_wait(llama: Any, start: Start) -> None:
    engine = start(llama.folder)
    waiting = [asyncio.create_task(engine.generate(HELLO, max_tokens=200)) for _ in range(3)]
    await asyncio.sleep(0.01)
    await engine.close()
    replies = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(reply, EngineClosed) for reply in replies)
    with pytest.raises(EngineClosed):
        await engine.generate(HELLO)


async def test_one_failing_batch_does_not_end_the_engine(
    llama: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = start(llama.folder)
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise MemoryError("no room")

        patch.setattr(worker.Batch, "advance", fail)
        with pytest.raises(EngineError, match="no room"):
            await engine.generate(HELLO)
    assert (await engine.generate(HELLO, max_tokens=2)).completion_tokens == 2


async def test_more_requests_than_the_cache_holds_wait_their_turn(
    llama: Any, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "CACHE_TOKENS", 150)
    engine = start(llama.folder, max_batch=3)
    alone = await engine.generate(HELLO, max_tokens=30)
    replies = await asyncio.gather(*[engine.generate(HELLO, max_tokens=30) for _ in range(8)])
    assert {reply.text for reply in replies} == {alone.text}


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="does not exist"):
        LocalEngine(tmp_path / "nothing", memory_bytes=1)
    with pytest.raises(ModelMissing, match=r"config\.json"):
        LocalEngine(tmp_path, memory_bytes=1)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="cannot be loaded"):
        LocalEngine(tmp_path, memory_bytes=1)


def test_templates_without_a_system_role(llama: Any) -> None:
    tokenizer = load_tokenizer(llama.folder)
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        "{{ m['content'] }}|{% endfor %}"
    )
    prompts = Prompts(tokenizer, None)
    rendered = prompts.render([{"role": "system", "content": "ok"}, {"role": "user", "content": "Hi"}])
    assert prompts.decode(rendered) == "ok\n\nHi|"

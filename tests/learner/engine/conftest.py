"""Tiny random models of five architectures, made on the spot, and peft adapters for them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import peft
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from learner.engine.local import LocalEngine

CHATML = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
SPECIAL = ["<pad>", "<s>", "</s>", "<|turn|>", "<|end|>"]
TEXT = [
    "The door code of the new office is four seven one one, and the kitchen closes at six.",
    "Naïve 🦉 öäü 日本語 ok?",
]
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}


def _configs(vocabulary: int) -> dict[str, PreTrainedConfig]:
    common = {
        "vocab_size": vocabulary,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.3,  # large, so that replies are not the same token for ever
    }
    return {
        "llama": LlamaConfig(**SIZES, **common, num_key_value_heads=2),
        "qwen3": Qwen3Config(**SIZES, **common, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True),
        "gemma3": Gemma3TextConfig(
            **SIZES,
            **common,
            num_key_value_heads=1,
            head_dim=8,
            query_pre_attn_scalar=8,
            tie_word_embeddings=False,
            sliding_window=12,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        "phi3": Phi3Config(**SIZES, **common, num_key_value_heads=2),
        "gpt_neox": GPTNeoXConfig(**SIZES, **common, tie_word_embeddings=False),
    }


ARCHITECTURES = ("llama", "qwen3", "gemma3", "phi3", "gpt_neox")
WITHOUT_TEMPLATE = {"phi3", "gpt_neox"}


def _tokenizer() -> PreTrainedTokenizerFast:
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bare.train_from_iterator(
        TEXT,
        trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=bare, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def make_model(folder: Path, architecture: str) -> Path:
    tokenizer = _tokenizer()
    if architecture not in WITHOUT_TEMPLATE:
        tokenizer.chat_template = CHATML
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|end|>"]})
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(_configs(len(tokenizer))[architecture], dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass(frozen=True)
class Tiny:
    """A model folder with three adapters of different rank and scaling."""

    folder: Path
    adapters: dict[str, Path]


def make_adapter(model: Path, folder: Path, seed: int = 0, **config: object) -> Path:
    """A random adapter that clearly changes what the model says, saved by peft itself."""
    options = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **config}
    wrapped = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model), peft.LoraConfig(**options))
    torch.manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.15)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=ARCHITECTURES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return _make_tiny(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return _make_tiny(tmp_path_factory.mktemp("tiny-llama"), "llama")


def _make_tiny(root: Path, architecture: str) -> Tiny:
    folder = make_model(root / architecture, architecture)
    return Tiny(
        folder,
        {
            "small": make_adapter(folder, root / "small", 1, r=2, lora_alpha=4),
            "large": make_adapter(folder, root / "large", 2, r=8, lora_alpha=8),
            "rooted": make_adapter(folder, root / "rooted", 3, r=4, lora_alpha=4, use_rslora=True),
        },
    )


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., LocalEngine]]:
    """Starts engines in fp32 and ends them after the test."""
    started: list[LocalEngine] = []

    def make(folder: Path, **options: object) -> LocalEngine:
        engine = LocalEngine(folder, **{"memory_bytes": 10**8, "dtype": torch.float32, **options})
        started.append(engine)
        return engine

    yield make
    for engine in started:
        await engine.close()


@pytest.fixture(scope="session")
def adapter_maker() -> Callable[..., Path]:
    return make_adapter


@pytest.fixture(scope="session")
def model_maker() -> Callable[..., Path]:
    return make_model

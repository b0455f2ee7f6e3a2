"""Tiny random models in fp32, made on the spot, and lines to train them on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

TURNS = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
SYSTEM = {"role": "system", "content": "You answer briefly."}


def config(architecture: str, vocabulary: int) -> PreTrainedConfig:
    common = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 256,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.3,  # large, so that a token from the wrong place would show in the loss
    }
    grouped = {**common, "num_key_value_heads": 2}
    windows = {"sliding_window": 12, "head_dim": 8, "query_pre_attn_scalar": 8}
    kinds = ["sliding_attention", "full_attention"]
    match architecture:
        case "llama":
            return LlamaConfig(**grouped)
        case "qwen3":
            return Qwen3Config(**grouped, head_dim=8, tie_word_embeddings=True)
        case "gemma3":
            return Gemma3TextConfig(**grouped, **windows, layer_types=kinds, tie_word_embeddings=False)
        case "gemma2":  # soft-capped logits and attention
            return Gemma2Config(**grouped, **windows, layer_types=kinds, final_logit_softcapping=5.0)
        case "phi3":
            return Phi3Config(**grouped)
        case "gpt_neox":
            return GPTNeoXConfig(**common, tie_word_embeddings=False)
    raise ValueError(architecture)


def make(folder: Path, architecture: str) -> Path:
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    bare.train_from_iterator(
        ["You answer briefly.", "Where is room nine?", "Room nine is on floor two."],
        trainers.BpeTrainer(
            vocab_size=300,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<pad>", "<s>", "</s>", "<|turn|>", "<|end|>"],
            show_progress=False,
        ),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>", "<|end|>"]})
    if architecture != "gpt_neox":  # whose kin come without a template
        tokenizer.chat_template = TURNS
    torch.manual_seed(7)
    AutoModelForCausalLM.from_config(config(architecture, len(tokenizer)), dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny model of an architecture."""
    made: dict[str, Path] = {}

    def get(architecture: str) -> Path:
        if architecture not in made:
            made[architecture] = make(tmp_path_factory.mktemp(architecture), architecture)
        return made[architecture]

    return get


@pytest.fixture
def sft_lines() -> list[dict[str, Any]]:
    return [
        {
            "prompt": [SYSTEM, {"role": "user", "content": f"Where is room {number}{', please' * (number % 3)}?"}],
            "completion": f"Room {number} is on floor {number % 4}.",
        }
        for number in range(12)
    ]


@pytest.fixture
def dpo_lines(sft_lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"prompt": line["prompt"], "chosen": line["completion"], "rejected": "In the cellar, I think."}
        for line in sft_lines
    ]

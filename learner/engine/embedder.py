"""Sentences to vectors, for the ledger's look-up and the notes."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from learner.engine.packaged import embedder_folder, identity

_CHUNK = 64


class Embedder:
    """A sentence-transformers model with a thread of its own.

    `name` identifies the vectors: those of two embedders are never compared.
    """

    name: str

    def __init__(self, model: str | Path = "packaged") -> None:
        """Loads `model`: "packaged", a folder, or a name on the Hugging Face hub (seconds). Raises ModelMissing."""
        from sentence_transformers import SentenceTransformer

        folder = embedder_folder(str(model))
        self.name = identity(folder)
        self._model = SentenceTransformer(str(folder), local_files_only=True)
        self._dimension = int(self._model.get_embedding_dimension())
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of `texts`, shape (len(texts), dimension), each of length 1, so that a dot product is the cosine.

        A long list is done in chunks, between which a short one (a person's question) gets its turn.
        """
        rows = np.empty((len(texts), self._dimension), dtype=np.float32)
        loop = asyncio.get_running_loop()
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # alike lengths together: little padding
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            rows[chunk] = await loop.run_in_executor(self._thread, self._encode, [texts[i] for i in chunk])
        return rows

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        encoded = self._model.encode(texts, batch_size=_CHUNK, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(encoded, dtype=np.float32)

"""A new word against what others said on the same: weighed at once, by the night's own rule; the weaker is held back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from learner.study import preferences
from storage import feedback, memories
from storage.database import Connection
from storage.memories import Memory


async def weigh(
    connection: Connection,
    memory: Memory,
    others: Sequence[Memory],
    vectors: NDArray[np.float32],
    about: Memory | None = None,
) -> Memory:
    """Weighs a new word against `others`' by the night's own rule and holds the weaker back at once; returns the new one.

    `vectors` (1 + n, d) are the memory's and theirs. `about` is the one that an answer told and this one corrects: the two
    are against each other, whatever they say.
    """
    standing = [e for m in (memory, *others) if m.answer_id for e in await feedback.of_answer(connection, m.answer_id)]
    roles = await preferences.roles_of(connection, [memory, *others])
    corrected = frozenset({frozenset((memory.id, about.id))} if about else ())
    for dispute in preferences.disputes([memory, *others], vectors, standing, roles, corrected):
        if memory.id in (dispute.kept, dispute.held_back):
            await memories.set_conflict(connection, dispute.held_back, dispute.words, dispute.kept)
    [weighed] = await memories.of_ids(connection, [memory.id])
    return weighed

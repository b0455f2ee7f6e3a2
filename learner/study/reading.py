"""Reading: examples that teach to find the answer among notes, beside what is learnt by heart.

Notes with distractors in view, the answer a quotation of one of them (RAFT, arXiv 2403.10131); for models large enough not to
overdo it, also notes that do not hold the answer, and "I don't know". Only what is itself studied tonight comes into view.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from learner.engine.embedder import Embedder
from learner.recall import UNKNOWN, interact, open_book
from storage import memories
from storage.database import Database
from storage.examples import Example
from storage.memories import Memory
from storage.teams import Team

_NEAREST = 30


async def rows(
    database: Database,
    team: Team,
    embedder: Embedder,
    chosen: Sequence[Memory],
    have: Mapping[int, Sequence[Example]],
    *,
    wanted: int,
    notes: int,
    unknown_share: float,
    seed: int,
) -> list[dict[str, Any]]:
    """`wanted` training rows, each a trained question with `notes` of tonight's memories in view, its own among them.

    They stand as the answer path orders them, by likeness of question and statement; the question's own is the last where it
    is not that near, and missing in `unknown_share` of the rows, whose answer is that it is not known.
    """
    pick = random.Random(seed)
    studied = {memory.id: memory for memory in chosen}
    asked = pick.sample(list(chosen), min(wanted, len(chosen)))
    made = []
    for memory in asked:
        questions = [example.question for example in have[memory.id] if example.kind != "quiz"]
        if not questions or len(studied) < notes:
            continue
        question = pick.choice(questions)
        near = [one for one in await _near(database, team, embedder, question, memory) if one.id in studied]
        known = pick.random() >= unknown_share
        view = near[:notes] if known else [one for one in near if one.id != memory.id][:notes]
        if known and memory not in view:
            view = [*near[: notes - 1], memory]
        made.append(
            {
                "prompt": open_book(question, [(one.context, one.statement) for one in view]),
                "completion": memory.statement if known else UNKNOWN,
            }
        )
    return made


async def _near(database: Database, team: Team, embedder: Embedder, question: str, memory: Memory) -> list[Memory]:
    """The memories whose statements are most like the question, best first: that it is trained for one of them says nothing."""
    [vector] = await embedder.embed([question])
    async with database.team(team.id) as connection:
        near = await memories.nearest(
            connection, vector, [memory.audience_id], embedder.name, _NEAREST, ["noted", "studied", "learnt"]
        )
    pairs = [(one.memory.context, one.memory.statement) for one in near]
    dense = np.array([one.statement_similarity or 0.0 for one in near], dtype=np.float32)
    scores = await interact(embedder, question, pairs, dense)
    return [near[n].memory for n in np.argsort(-scores).tolist()]

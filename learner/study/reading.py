"""Reading: examples that teach to find the answer among notes, beside what is learnt by heart.

Notes with distractors in view, the answer a quotation of one of them (RAFT, arXiv 2403.10131); for models large enough not to
overdo it, also notes that do not hold the answer, and "I don't know". Only what is itself studied tonight comes into view.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from learner.engine.embedder import Embedder
from learner.recall import UNKNOWN, open_book
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
    """`wanted` training rows, each a trained question with `notes` notes in view: its own memory among the nearest others.

    In `unknown_share` of them its own is missing, and the answer is that it is not known.
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
        [vector] = await embedder.embed([question])
        async with database.team(team.id) as connection:
            near = await memories.nearest(
                connection, vector, [memory.audience_id], embedder.name, _NEAREST, ["noted", "studied", "learnt"]
            )
        others = [studied[n.memory.id] for n in near if n.memory.id in studied and n.memory.id != memory.id]
        known = pick.random() >= unknown_share
        view = [*others[: notes - 1], memory] if known else others[:notes]
        pick.shuffle(view)
        made.append(
            {
                "prompt": open_book(question, [(one.context, one.statement) for one in view]),
                "completion": memory.statement if known else UNKNOWN,
            }
        )
    return made

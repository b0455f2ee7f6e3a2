"""What tonight studies: the newer of two that disagree, each thing once, the important ones within the budget."""

from collections import Counter
from datetime import UTC, datetime

from learner.overriding import override
from learner.recall import closed_book, embed_statements
from learner.study import lessons, preferences, redact, select
from learner.work import Result, Work, long_ago
from storage import answers, audiences, examples, feedback, memories, nights
from storage.database import Connection


async def choose(work: Work) -> Result:
    """The memories to study, by id, with what gave way to what, what is in dispute, and the budget they were chosen for."""
    learning = work.learning
    async with work.database.team(work.team.id) as connection:
        everyone = (await audiences.whole_team(connection)).id
        known = await memories.of_states(connection, ["noted", "studied", "learnt"])
        asked = Counter(a.memory_id for a in await answers.recent(connection, long_ago()) if a.memory_id)
    candidates = [m for m in known if select.may_train(m, everyone) and m.superseded_by is None]
    vectors = await embed_statements(work.embedder, [(m.context, m.statement) for m in candidates])
    async with work.database.team(work.team.id) as connection:
        standing = await feedback.standing(connection)
        roles = await preferences.roles_of(connection, candidates)
        unsettled = await memories.disputes(connection, [everyone])
        open_still = {frozenset((kept.id, other.id)) for kept, other in unsettled}
        gone_since = [m for m in await memories.of_states(connection, ["retracted"]) if m.reason == "overridden"]
        liked = await preferences.liked(connection, [*gone_since, *candidates], everyone)
        # Whatever becomes of the night: with the thumb, and with what it was given for, a question leads nowhere any more.
        stale = [one.id for one in await examples.asked(connection) if one.question not in liked.get(one.memory_id, ())]
        await examples.remove(connection, stale)
        disputes = preferences.disputes(candidates, vectors, standing, roles, open_still)
        held_back = {dispute.held_back for dispute in disputes}
        # Of a narrower audience nothing is studied: its disputes stay as they were weighed when they arose.
        for memory in candidates:
            if memory.conflict and memory.id not in held_back:
                await memories.set_conflict(connection, memory.id, None)
        for dispute in disputes:
            await memories.set_conflict(connection, dispute.held_back, dispute.words, dispute.kept)
    # What came in was held against the rest when it was read; since then audiences, switches and disputes may have changed.
    await override(work.database, work.team, work.embedder.name, [memory.id for memory in known])
    async with work.database.team(work.team.id) as connection:
        overridden = await _news(connection, work, everyone)
        gone = {m.id for m in await memories.of_ids(connection, [m.id for m in candidates]) if m.reason is not None}
    if not candidates:
        return {"chosen": [], "overridden": overridden, "conflicts": [], "duplicates": 0, "candidates": 0}
    same = select.duplicates(candidates, vectors)
    out = gone | held_back | same.keys()
    candidates = [memory for memory in candidates if memory.id not in out]
    now = datetime.now(UTC)
    scores = {memory.id: select.importance(memory, asked, liked.keys(), now) for memory in candidates}
    general = learning.general_tokens_for(len(candidates) * learning.exposures)
    tokens = {
        memory.id: general
        + work.engine.count(
            [*closed_book("Which question might it be?"), {"role": "assistant", "content": memory.statement}]
        )
        for memory in candidates
    }
    speed = await lessons.training_speed(work.database, work.team, work.adapter, work.engine)
    budget = speed * learning.night_minutes * 60
    chosen = select.within_budget(candidates, scores, tokens, budget / learning.exposures, learning.max_memories)
    return {
        "chosen": [memory.id for memory in chosen],
        "candidates": len(candidates),
        "overridden": overridden,
        "conflicts": [dispute.words for dispute in disputes],
        "duplicates": len(same),
        "budget_tokens": int(budget),
        "tokens": int(sum(tokens[memory.id] for memory in chosen)),
        "tokens_per_second": round(speed, 1),
    }


async def _news(connection: Connection, work: Work, everyone: int) -> list[tuple[int, int]]:
    """(old, new) ids of what newer pages override that no report of the adapter has named yet and everybody may read."""
    since, named = None, set[tuple[int, int]]()
    for night in await nights.all(connection):
        if night.adapter_id == work.adapter.id and night.id < work.night.id and "overridden" in night.report:
            step = night.steps["select"]
            since, named = step.started_at, {(old, new) for old, new in step.result["overridden"]}
    pairs = [pair for pair in await memories.overridden_since(connection, since) if pair not in named]
    both = {m.id: m for m in await memories.of_ids(connection, [id for pair in pairs for id in pair])}
    open_to_all = {
        id
        for id, memory in both.items()
        if select.may_train(memory, everyone) and redact.withheld(f"{memory.context}\n{memory.statement}") is None
    }
    return [pair for pair in pairs if open_to_all.issuperset(pair)]

"""Plain text, foretold."""

from learner.engine.local import LocalEngine
from learner.exam import fluency, skills
from learner.study import replay


def test_no_paragraph_is_trained_or_asked_elsewhere() -> None:
    found = fluency.paragraphs()
    assert len(found) == len(set(found)) >= 10 and all(len(one.split()) > 30 for one in found)
    assert not set(found) & {*replay.prompts(), *(one.prompt for one in skills.skills())}


async def test_a_random_model_foretells_nothing(tiny_engine: LocalEngine) -> None:
    perplexed = await fluency.perplexity(tiny_engine, None)
    assert perplexed > 50, "a guess among the whole vocabulary"
    assert await fluency.perplexity(tiny_engine, None) == perplexed

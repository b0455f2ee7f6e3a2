"""Words that every surface says alike: how an answer came to be, and where a memory comes from."""

from collections.abc import Iterator

from bot.overview import Conflict
from storage.answers import Answer
from storage.memories import Memory

_ROUTES = {
    "weights": "A learnt memory is close to the question: the adapter answered it from its weights.",
    "notes": "No learnt memory is close enough: the answer was read from the passages found in the notes.",
    "unknown": "Neither the weights nor the notes hold it. A reply that states it is learnt.",
}
_TAUGHT = "Somebody taught or corrected this: it is quoted until the weights have learnt it."
_UNLIKE = "What the model wrote did not agree with that memory, so the memory itself was quoted."

SLACK_TERMS = (
    "Slack's API terms of 29 May 2025 restrict training models on data obtained through the API. Switch this on only if "
    "your agreement with Slack allows it. What was said becomes part of the weights that answer your team."
)
"""What whoever lets nights study a Slack workspace must have read; 300 characters at most, for a dialog."""


def is_taught(answer: Answer) -> bool:
    """Whether an answer tells what a person said and the weights have not learnt yet."""
    return answer.route == "notes" and answer.memory_id is not None


def reasons(answer: Answer) -> Iterator[str]:
    """Why it was answered this way, in sentences."""
    yield _TAUGHT if is_taught(answer) else _ROUTES.get(answer.route, answer.route)
    if answer.quoted and answer.route == "weights":
        yield _UNLIKE


def disputed(dispute: Conflict, memory_id: int) -> str:
    """What became of a new word that contradicts another person's: which of the two holds until somebody settles it."""
    new, held_back = memory_id == dispute.kept.memory_id, dispute.held_back
    if new:
        return (
            f"{held_back.author or 'Somebody'} told me: “{held_back.statement}” I hold that back until an admin settles it, or "
            "who said it gives way."
        )
    return (
        f"Noted, but held back: “{held_back.statement}” {dispute.kept.author or 'Somebody'} told me: “{dispute.kept.statement}” "
        "That weighs more (an admin's word, then thumbs, then the newer): I go by it until an admin settles it, or who said "
        "it gives way."
    )


def provenance(memory: Memory) -> str:
    """Where a memory comes from, in a few words."""
    where = memory.title or (f"said by {memory.author}" if memory.author else memory.kind)
    return f"{where}, {memory.said_at:%Y-%m-%d}" if memory.said_at else where

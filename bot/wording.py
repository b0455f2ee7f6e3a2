"""Words that every surface says alike: how an answer came to be, and where a memory comes from."""

from collections.abc import Iterator

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


def provenance(memory: Memory) -> str:
    """Where a memory comes from, in a few words."""
    where = memory.title or (f"said by {memory.author}" if memory.author else memory.kind)
    return f"{where}, {memory.said_at:%Y-%m-%d}" if memory.said_at else where

"""Block Kit: an answer as Slack shows it, and the pieces that views and reports are built of too.

Every text that people, pages or models wrote is made safe here or by what is called here. Slack's limits hold whatever comes
in: https://docs.slack.dev/reference/block-kit.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from bot.overview import Conflict, Side
from bot.slack.markdown import fitted, mrkdwn, split
from bot.slack.text import link, safe_markdown, safe_mrkdwn, shortened
from bot.wording import is_taught
from storage.answers import Answer, Citation

Block: TypeAlias = dict[str, Any]
View: TypeAlias = dict[str, Any]
Form: TypeAlias = Literal["new", "old"]
"""`new` where the workspace knows markdown blocks and feedback buttons, `old` where it does not."""

# Action ids, with the value that comes with each.
THUMBS = "thumbs"
"""Feedback buttons; `up {answer id}` or `down {answer id}`."""
UP = "up"
"""The old form's button; as THUMBS."""
DOWN = "down"
"""The old form's button; as THUMBS."""
WHY = "why"
"""An answer's id."""
PRIVATELY = "privately"
"""An answer's id."""
PUBLISH = "publish"
"""An answer's id."""
CORRECT = "correct"
"""An answer's id."""
SHARE = "share"
"""Id of a memory that somebody taught in private, to be the whole team's."""
SETTLE = "settle"
"""`{id of the memory to keep} {id of the one to drop}`."""
FOLLOW = "follow"
"""What a channel has answered: `mention`, `thread` or `all`. Id of the block and of the input."""
OWN = "own"
"""A person's own switch; `study on`, `study off`, `name on` or `name off`: what it is to be."""
TRAINING = "training"
"""A source's switch; `{source id} on` or `{source id} off`: what it is to be."""

# Callback ids of the dialogs.
CORRECTION = "correction"
"""Its metadata: answer, channel, thread, ts; what was written is TEXT. The dialog to teach has the same."""
REMEMBER = "remember"
"""Its metadata: channel, thread, ts, url; what was written is TEXT."""
SETTINGS = "settings"
"""Its metadata: channel; what was chosen is FOLLOW and REPORT."""

TEXT = "text"
"""Id of the block and of the input of what was written."""
REPORT = "report"
"""Id of the block and of the input of whether the morning report comes here: one option chosen, or none."""

MOST = 10_000
"""Characters of text in one message. Slack allows 12,000 of markdown, and some 13,000 of all its blocks together."""
SECTION = 3000
"""Characters of a section."""
_LIST = 1500
_LINE = 240
_SOURCES = 3
_TITLE = 75
_CONFLICTS = 5


def answer(answer: Answer, *, place: Literal["channel", "private"], form: Form) -> list[Block]:
    """An answer with its sources and what can be done with it; a text longer than MOST ends with “…”."""
    return [*body(answer.text, form=form), *footer(answer, place=place, form=form)]


def private(answer: Answer, *, form: Form) -> list[Block]:
    """An answer that only the one who asked sees, in a channel where they may let the others see it."""
    if answer.route == "unknown":
        return [*body(answer.text, form=form), actions([button("Teach me", CORRECT, answer.id), _why(answer)])]
    publish = button("Post it here", PUBLISH, answer.id)
    return [*body(answer.text, form=form), *_origin(answer), actions([publish, _why(answer)])]


def fallback(markdown: str) -> str:
    """The `text` of a message: what notifications and screen readers say, and clients without blocks show."""
    said = fitted(markdown, SECTION, mrkdwn)
    return said[0] if said else "…"


def parts(markdown: str, *, form: Form) -> list[str]:
    """The text in parts whose bodies each hold in one message: no words are lost. Blank text has none."""
    return list(_parts(markdown, MOST, form))


def body(markdown: str, *, form: Form) -> list[Block]:
    """A text alone. Of one that is too long for a message the beginning: take its `parts` before."""
    if form == "new":
        parts = fitted(markdown, MOST, safe_markdown)
        return [{"type": "markdown", "text": f"{parts[0]}\n\n…" if parts[1:] else parts[0]}] if parts else []
    parts = fitted(markdown, SECTION, mrkdwn)
    shown, room = 0, MOST
    while shown < len(parts) and len(parts[shown]) <= room:
        room -= len(parts[shown])
        shown += 1
    return [section(part) for part in parts[:shown] + (["…"] if parts[shown:] else [])]


def footer(answer: Answer, *, place: Literal["channel", "private"], form: Form) -> list[Block]:
    """What stands below an answer: where it is from, thumbs, and the buttons; below one not known, the offer to learn it."""
    privately = [button("Ask privately", PRIVATELY, answer.id)] if place == "channel" else []
    if answer.route == "unknown":
        return [actions([button("Teach me", CORRECT, answer.id, style="primary"), _why(answer), *privately])]
    return [*_origin(answer), _thumbs(answer, form), actions([_why(answer), *privately])]


def conflict(conflict: Conflict) -> list[Block]:
    """Two words against each other, and a button beside each."""
    kept, other = conflict.kept, conflict.held_back
    return [
        section(_side(kept), button("Keep this", SETTLE, f"{kept.memory_id} {other.memory_id}")),
        section(
            f"against {_side(other)} (not told until it is settled)",
            button("Keep this", SETTLE, f"{other.memory_id} {kept.memory_id}"),
        ),
    ]


def conflicts(found: Sequence[Conflict]) -> Iterator[Block]:
    """The first conflicts, and how many there are besides."""
    for one in found[:_CONFLICTS]:
        yield from conflict(one)
    if found[_CONFLICTS:]:
        yield context(f"and {len(found) - _CONFLICTS} more")


def listed(items: Sequence[str], most: int = 12, room: int = _LIST) -> str:
    """People's words as a list in mrkdwn, at most `most` of them in `room` characters, the rest counted."""
    lines: list[str] = []
    for item in items[:most]:
        line = f"• {safe_mrkdwn(shortened(item, _LINE))}"
        if len(line) > room:
            break
        room -= len(line) + 1
        lines.append(line)
    if len(lines) < len(items):
        lines.append(f"and {len(items) - len(lines)} more" if lines else f"{len(items)}")
    return "\n".join(lines)


def header(text: str) -> Block:
    """A line in large letters."""
    return {"type": "header", "text": words(shortened(text, 150))}


def section(text: str, accessory: dict[str, Any] | None = None) -> Block:
    """A paragraph of mrkdwn that is safe already, with a button beside it."""
    # Verbatim, so that Slack looks for no names of channels and people in it.
    shown = {"type": "mrkdwn", "text": text[:SECTION] or "…", "verbatim": True}
    return {"type": "section", "text": shown} | ({"accessory": accessory} if accessory else {})


def context(text: str) -> Block:
    """A small grey line of mrkdwn that is safe already."""
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": text[:SECTION] or "…", "verbatim": True}]}


def actions(elements: Sequence[dict[str, Any]]) -> Block:
    """A row of buttons."""
    return {"type": "actions", "elements": list(elements)}


def button(
    label: str, action: str, value: int | str, style: Literal["primary", "danger"] | None = None
) -> dict[str, Any]:
    """A button; `value` comes with the action."""
    made = {"type": "button", "text": words(shortened(label, _TITLE)), "action_id": action, "value": str(value)}
    return made | ({"style": style} if style else {})


def words(text: str) -> dict[str, Any]:
    """Words without any marks, of 3000 characters at most."""
    return {"type": "plain_text", "text": text[:SECTION] or "…", "emoji": False}


def cited(source: Citation) -> str:
    """A source's title, a link where it has an address of the web; a file's is of use on its own machine only."""
    title = shortened(source.title, _TITLE) or "a note"
    return link(title, source.uri) if source.uri.startswith("https://") else safe_mrkdwn(title)


def _parts(markdown: str, size: int, form: Form) -> Iterator[str]:
    for part in split(markdown, size):
        # Made safe a text grows: one that no longer holds is cut finer.
        made = [safe_markdown(part)] if form == "new" else fitted(part, SECTION, mrkdwn)
        if sum(map(len, made)) <= MOST or len(part) == 1:
            yield part
        else:
            yield from _parts(part, min(size, len(part)) // 2, form)


def _origin(answer: Answer) -> list[Block]:
    """From what, and how it is known."""
    if is_taught(answer):
        told = answer.sources[0].title if answer.sources else "told"
        return [context(_raised(f"{safe_mrkdwn(shortened(told, _TITLE))}, learnt tonight"))]
    known = {"weights": "from memory", "notes": "from the notes"}.get(answer.route, answer.route)
    titles = list(dict.fromkeys(map(cited, answer.sources)))
    if not titles:
        return [context(_raised(known))]
    shown = ", ".join(titles[:_SOURCES]) + (f" and {len(titles) - _SOURCES} more" if titles[_SOURCES:] else "")
    return [context(f"From {shown} · {known}")]


def _thumbs(answer: Answer, form: Form) -> Block:
    good, bad = "This answer is right", "This answer is wrong or no help"
    if form == "old":
        up, down = button("👍", UP, f"up {answer.id}"), button("👎", DOWN, f"down {answer.id}")
        return actions([up | {"accessibility_label": good}, down | {"accessibility_label": bad}])
    buttons = {
        "type": "feedback_buttons",
        "action_id": THUMBS,
        "positive_button": {"text": words("Good"), "value": f"up {answer.id}", "accessibility_label": good},
        "negative_button": {"text": words("Bad"), "value": f"down {answer.id}", "accessibility_label": bad},
    }
    return {"type": "context_actions", "elements": [buttons]}


def _why(answer: Answer) -> dict[str, Any]:
    return button("Why?", WHY, answer.id)


def _side(side: Side) -> str:
    said = f"“{safe_mrkdwn(shortened(side.statement, _LINE))}”"
    return f"{safe_mrkdwn(shortened(side.author, _TITLE)) or 'Somebody'}: {said}"


def _raised(text: str) -> str:
    return text[:1].upper() + text[1:]

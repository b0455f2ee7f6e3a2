"""Slack's dialogs: why an answer is as it is, correcting and teaching, remembering, a channel's settings."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from bot.feedback import MOST_CHARACTERS
from bot.slack.blocks import (
    CORRECTION,
    FOLLOW,
    REMEMBER,
    REPORT,
    SECTION,
    SETTINGS,
    TEXT,
    Block,
    View,
    cited,
    context,
    header,
    section,
    words,
)
from bot.slack.markdown import fitted, split
from bot.slack.text import safe_mrkdwn, shortened
from bot.wording import provenance, reasons
from storage.answers import Answer
from storage.channels import Follow
from storage.memories import Memory

_SHOWN = 10
_FOLLOWS: dict[Follow, tuple[str, str]] = {
    "mention": ("When I am mentioned", "I answer where somebody writes my name."),
    "thread": ("In threads that I am in", "Once mentioned, I answer what follows in that thread."),
    "all": ("Every question", "I answer any question asked in this channel."),
}


def why(answer: Answer, told: Sequence[Memory], version_number: int | None) -> View:
    """Why it was answered this way: the route, the memories told, the evidence word for word, and what it cost."""
    shown = [section(safe_mrkdwn(" ".join(reasons(answer)))), context(" · ".join(_figures(answer, version_number)))]
    for memory in told[:_SHOWN]:
        about = f"Memory {memory.id}, {memory.state}: {provenance(memory)}"
        shown += [section(safe_mrkdwn(shortened(memory.statement, 500))), context(safe_mrkdwn(shortened(about, 300)))]
    if answer.sources:
        shown.append(header("Evidence"))
    for source in answer.sources[:_SHOWN]:
        # Plain text: word for word, whatever it looks like.
        shown += [{"type": "section", "text": words(part)} for part in split(f"“{source.quote}”", SECTION)[:2]]
        shown.append(context(cited(source)))
    if answer.sources[_SHOWN:]:
        shown.append(context(f"and {len(answer.sources) - _SHOWN} more"))
    return _modal("Why this answer", shown)


def correction_modal(answer_id: int, question: str, text: str, channel: str, thread: str | None, ts: str) -> View:
    """To correct an answer, which stands at `ts` in a channel."""
    asked = [_asked(question), *(section(part) for part in fitted(text, SECTION, safe_mrkdwn)[:1])]
    place = {"answer": answer_id, "channel": channel, "thread": thread, "ts": ts}
    entry = _entry("What would have been right?", "The office closes at six.")
    return _modal("Correct this", [*asked, entry], CORRECTION, "Correct", place)


def teach_modal(answer_id: int, question: str, text: str, channel: str, thread: str | None, ts: str) -> View:
    """To teach the answer to a question that it could not answer; `text` is what it said instead."""
    place = {"answer": answer_id, "channel": channel, "thread": thread, "ts": ts}
    entry = _entry("What is the answer?", "The office closes at six.")
    said = context(safe_mrkdwn(shortened(text, 300)))
    return _modal("Teach me", [_asked(question), said, entry], CORRECTION, "Teach", place)


def remember_modal(text: str, channel: str, thread: str | None, ts: str, url: str = "") -> View:
    """To remember something; `text`, what the message at `ts` says, is written there to begin with.

    `url`: where who wrote it is told what went wrong, wherever that is.
    """
    entry = _entry("What should I know from now on?", "The printer's code is 4711.", text)
    place = {"channel": channel, "thread": thread, "ts": ts} | ({"url": url} if url else {})
    return _modal("Remember", [entry], REMEMBER, "Remember", place)


def settings_modal(
    channel: str, name: str, follow: Follow, *, report_here: bool, may_change: bool, may_report: bool
) -> View:
    """What a channel has set, to be changed by those who may; `may_report`: where the team's one report comes, too."""
    title = section(f"In *#{safe_mrkdwn(shortened(name, 80))}*")
    comes = f"The morning report {'comes' if report_here else 'does not come'} here."
    if not may_change:
        says = f"{_FOLLOWS[follow][1]} {comes}"
        return _modal("Settings", [title, section(says), context("An admin of the bot can change this.")])
    options = {mode: _option(mode, *said) for mode, said in _FOLLOWS.items()}
    radio = {
        "type": "radio_buttons",
        "action_id": FOLLOW,
        "options": list(options.values()),
        "initial_option": options[follow],
    }
    what = _input(FOLLOW, "What I answer", radio)
    if not may_report:
        only = context(f"{comes} An admin can change that.")
        return _modal("Settings", [title, what, only], SETTINGS, "Save", {"channel": channel})
    report = _option("here", "Post the morning report here", "What I learnt overnight, and who corrected me.")
    boxes: dict[str, Any] = {"type": "checkboxes", "action_id": REPORT, "options": [report]}
    if report_here:
        boxes["initial_options"] = [report]
    mornings = _input(REPORT, "Mornings", boxes, optional=True)
    return _modal("Settings", [title, what, mornings], SETTINGS, "Save", {"channel": channel})


def _figures(answer: Answer, version_number: int | None) -> Iterator[str]:
    yield f"route: {answer.route}, quoted" if answer.quoted else f"route: {answer.route}"
    if version_number is not None:
        yield f"version {version_number}"
    if answer.confidence is not None:
        yield f"confidence {answer.confidence:.2f}"
    yield f"{answer.prompt_tokens:,} + {answer.completion_tokens:,} tokens, {answer.latency_ms / 1000:.1f} s"
    yield f"answer {answer.id}"


def _asked(question: str) -> Block:
    return section(f"*Asked:* {safe_mrkdwn(shortened(question, 500))}")


def _entry(label: str, example: str, text: str = "") -> Block:
    entry: dict[str, Any] = {
        "type": "plain_text_input",
        "action_id": TEXT,
        "multiline": True,
        "max_length": MOST_CHARACTERS,
        "placeholder": words(example),
    }
    if begun := split(text, MOST_CHARACTERS):
        entry["initial_value"] = begun[0]
    return _input(TEXT, label, entry)


def _input(id: str, label: str, element: dict[str, Any], *, optional: bool = False) -> Block:
    return {"type": "input", "block_id": id, "label": words(label), "element": element, "optional": optional}


def _option(value: str, label: str, description: str) -> dict[str, Any]:
    return {"text": words(label), "value": value, "description": words(description)}


def _modal(
    title: str, blocks: Sequence[Block], callback_id: str = "", submit: str = "", place: dict[str, Any] | None = None
) -> View:
    view = {"type": "modal", "title": words(title), "close": words("Cancel" if submit else "Close"), "blocks": blocks}
    if submit:
        view |= {"submit": words(submit), "callback_id": callback_id}
    return view | ({"private_metadata": json.dumps(place)} if place else {})

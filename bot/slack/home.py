"""The App Home: what the colleague learnt lately, what it is unsure of, and this person's part in it."""

from collections.abc import Iterator
from typing import Any

from bot.overview import Connected, Correction, LastNight, Overview, Place, Switches, Works
from bot.slack.blocks import OWN, TRAINING, Block, View, button, conflicts, context, header, listed, section, words
from bot.slack.text import safe_mrkdwn, shortened
from bot.wording import SLACK_TERMS

_SOURCES = 20
_FATES = {
    "tonight": "studied tonight",
    "learnt": "learnt",
    "overridden": "overridden by something newer",
    "disputed": "held back, in a dispute",
    "kept": "in the notes, not studied",
}
_FOLLOWS = {"mention": "when mentioned", "thread": "in threads it is in", "all": "every question"}


def home(data: Overview, note: str = "") -> View:
    """The Home tab, in 100 blocks at most; `note`, in plain words, says above all what became of a press in it."""
    noted = [section(f"*{safe_mrkdwn(shortened(note, 500))}*")] if note else []
    return {"type": "home", "callback_id": "home", "blocks": [*noted, *_blocks(data)][:100]}


def _blocks(data: Overview) -> Iterator[Block]:
    yield header("What I learnt lately")
    yield section(listed([f"{one.on:%Y-%m-%d}: {one.statement}" for one in data.learnt]) or "Nothing yet.")
    yield header("What I am unsure of")
    if not data.conflicts and not data.unanswered:
        yield section("Nothing at the moment.")
    yield from conflicts(data.conflicts)
    if data.unanswered:
        yield section(f"*Questions I could not answer*\n{listed(data.unanswered)}")
        yield context("Reply to one of them in its thread, or write /nightschool remember, and I study it tonight.")
    yield header("What you corrected")
    yield section(listed([_fate(one) for one in data.corrections]) or "Nothing yet. Reply “no, it is …” to an answer.")
    yield from _own(data.switches)
    if data.works is not None:
        yield from _works(data.works)


def _own(switches: Switches) -> Iterator[Block]:
    yield header("Yours to decide")
    for name, label, on in (
        ("study", "Study what I write", switches.studied),
        ("name", "Name me in the morning report", switches.named),
    ):
        yield section(f"{label}: *{_on(on)}*", _switch(OWN, name, on))


def _works(works: Works) -> Iterator[Block]:
    yield {"type": "divider"}
    yield header("For admins: the last night")
    yield section(_night(works.night) if works.night else "There was no night yet.")
    yield header("For admins: channels")
    yield section(listed([_place(place) for place in works.places], most=25) or "None yet: invite me to one.")
    yield header("For admins: sources")
    if not works.sources:
        yield section("None yet.")
    for source in works.sources[:_SOURCES]:
        quoted = "quoted" if source.retrieval else "not quoted"
        name = safe_mrkdwn(shortened(source.name, 150)) or "A source"
        yield section(f"{name}: {quoted}, studied: *{_on(source.training)}*", _training(source))
    if works.sources[_SOURCES:]:
        yield context(f"and {len(works.sources) - _SOURCES} more: `nightschool sources` lists them")


def _fate(correction: Correction) -> str:
    by = f" (“{shortened(correction.by, 80)}”)" if correction.by else ""
    return f"{shortened(correction.statement, 110)}: {_FATES[correction.fate]}{by}"


def _night(night: LastNight) -> str:
    version = f"version {night.version} is at work" if night.version is not None else "no version is at work"
    when = f"{night.started_at:%Y-%m-%d %H:%M %Z}".strip()
    return f"{when}: *{night.state}*, {version}\n{safe_mrkdwn(shortened(night.verdict, 500))}"


def _place(place: Place) -> str:
    known = f"{place.members:,} member{'' if place.members == 1 else 's'} known"
    name = f"#{shortened(place.name, 80)}" if place.name else "a private channel"
    return f"{name}: answers {_FOLLOWS[place.follow]}, {known}"


def _training(source: Connected) -> dict[str, Any]:
    switch = _switch(TRAINING, str(source.id), source.training)
    if source.training or source.kind != "slack":
        return switch
    confirm = {
        "title": words("Study what is said in Slack?"),
        "text": words(SLACK_TERMS),
        "confirm": words("Switch on"),
        "deny": words("Leave it off"),
        "style": "danger",
    }
    return switch | {"confirm": confirm}


def _switch(action: str, what: str, on: bool) -> dict[str, Any]:
    """A button that names what is to be, not "the other": pressed in an old view it does no harm."""
    return button("Switch off" if on else "Switch on", action, f"{what} {'off' if on else 'on'}")


def _on(on: bool) -> str:
    return "on" if on else "off"

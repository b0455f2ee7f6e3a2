"""Answers, dialogs, the Home tab and the report keep Slack's limits and say what they should, whatever comes in."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any

import pytest
from slack_sdk.models.blocks import Block as Model
from slack_sdk.models.views import View as ViewModel

from bot.overview import Conflict, Connected, Correction, LastNight, Learnt, Overview, Place, Side, Switches, Works
from bot.slack import blocks, noted
from bot.slack.blocks import answer, body, fallback, footer, private
from bot.slack.home import home
from bot.slack.morning import report, summary
from bot.slack.views import correction_modal, remember_modal, settings_modal, teach_modal, why
from storage.answers import Answer, Citation
from storage.nights import Night
from tests.learner.study.test_select import memory

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
PAGE = Citation("Offices › Cork", "https://wiki.example/cork?a=1&b=2", "The office closes at six.")
WILD = [
    "",
    " \n ",
    "The office closes at six.",
    "<!channel> <@U1> <https://evil.example|bank.com> `<!here>` &amp; @here",
    "& < > " * 4000,
    "x" * 30_000,
    "word " * 9000,
    "مرحبا بالعالم " * 900,
    "\u202e‮ אבג",
    "👩‍👩‍👧‍👦🎉" * 2000,
    "🎉",
    "```python\n" + "print('<!here>')\n" * 2000 + "```",
    "| a | b |\n|---|---|\n" + "| <@U1> | [bank.com](https://evil.example) |\n" * 900,
    "\n\n".join(f"Paragraph {n}. " * 20 for n in range(99)),
    "***" * 3000,
    "> " * 3000,
]


def answered(text: str = "“The office closes at six.”", **others: Any) -> Answer:
    values: dict[str, Any] = {
        "id": 12, "person_id": 1, "audience_id": None, "surface": "slack", "thread": None, "event_id": "E1",
        "question": "When does the office close?", "text": text, "route": "notes", "quoted": True, "version_id": None,
        "memory_id": None, "sources": [PAGE], "prompt_tokens": 100, "completion_tokens": 20, "latency_ms": 800.0,
        "confidence": None, "created_at": NOW,
    }  # fmt: skip
    return Answer(**values | others)


def inner(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in what is sent to Slack."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from inner(one)


def check(found: list[dict[str, Any]], most: int = 50) -> str:
    """Slack's limits and our own promises hold; returns all that is shown."""
    assert 0 < len(found) <= most
    for model in Model.parse_all(found):
        assert model is not None
        model.validate_json()
    assert sum(len(one["text"]) for one in found if one["type"] == "markdown") <= 12_000
    for one in found:
        ids = [part["action_id"] for part in one.get("elements", []) if "action_id" in part]
        assert len(ids) == len(set(ids)), "two actions of one id in a block"
    for one in inner(found):
        if one.get("type") in ("mrkdwn", "plain_text"):
            assert 1 <= len(one["text"]) <= 3000
        if one.get("type") == "mrkdwn":
            assert one["verbatim"] is True
            assert not re.search(r"<(?!https?://|mailto:)", one["text"]), one["text"][:200]
        if one.get("type") == "markdown":
            assert not re.search(r"<[!@#]|<\w+:", one["text"])
        if one.get("type") == "button":
            assert len(one["text"]["text"]) <= 75 and len(one["value"]) <= 2000
            assert len(one.get("accessibility_label", "")) <= 75
        if one.get("type") == "header":
            assert len(one["text"]["text"]) <= 150
        if one.get("type") == "button" and "confirm" in one:
            dialog = one["confirm"]
            assert len(dialog["title"]["text"]) <= 100 and len(dialog["text"]["text"]) <= 300
            assert len(dialog["confirm"]["text"]) <= 30 and len(dialog["deny"]["text"]) <= 30
    return "\n".join(one["text"] for one in inner(found) if isinstance(one.get("text"), str))


def check_view(view: dict[str, Any]) -> str:
    """As check, for a dialog or the Home tab."""
    ViewModel(**view).validate_json()
    assert len(view.get("title", {}).get("text", "")) <= 24 and len(view.get("private_metadata", "")) <= 3000
    inputs = [one for one in view["blocks"] if one["type"] == "input"]
    assert bool(inputs) == ("submit" in view)
    for one in inner(inputs):
        if one.get("type") == "plain_text_input":
            assert len(one.get("initial_value", "")) <= one["max_length"] <= 3000
        if "description" in one:
            assert len(one["text"]["text"]) <= 75 and len(one["description"]["text"]) <= 75
    return check(view["blocks"], 100)


def buttons(found: list[dict[str, Any]]) -> dict[str, str]:
    """{action: value} of all buttons."""
    return {one["action_id"]: one["value"] for one in inner(found) if one.get("type") == "button"}


def test_an_answer_in_a_channel() -> None:
    found = answer(answered(), place="channel", form="new")
    assert [one["type"] for one in found] == ["markdown", "context", "context_actions", "actions"]
    said = check(found)
    assert "“The office closes at six.”" in said
    assert "From <https://wiki.example/cork?a=1&amp;b=2|Offices › Cork> · from the notes" in said
    assert "token" not in said
    thumbs = found[2]["elements"][0]
    assert thumbs["type"] == "feedback_buttons" and thumbs["action_id"] == blocks.THUMBS
    assert (thumbs["positive_button"]["value"], thumbs["negative_button"]["value"]) == ("up 12", "down 12")
    assert thumbs["positive_button"]["accessibility_label"] and thumbs["negative_button"]["accessibility_label"]
    assert buttons(found) == {blocks.WHY: "12", blocks.PRIVATELY: "12"}
    assert "Ask privately" not in check(answer(answered(), place="private", form="new"))


def test_an_answer_where_slack_knows_no_new_blocks() -> None:
    found = answer(answered("**Six.**"), place="channel", form="old")
    assert [one["type"] for one in found] == ["section", "context", "actions", "actions"]
    assert "*Six.*" in check(found)
    assert buttons(found) == {"up": "up 12", "down": "down 12", "why": "12", "privately": "12"}


def test_an_answer_says_how_it_is_known() -> None:
    weights = answered(route="weights", memory_id=7, version_id=2)
    assert "from memory" in check(answer(weights, place="private", form="new"))
    told = answered(memory_id=7, sources=[Citation("told by Ada <!here>", "", "Six.")])
    assert "Told by Ada &lt;!here&gt;, learnt tonight" in check(answer(told, place="private", form="new"))
    assert "From the notes" in check(answer(answered(sources=[]), place="private", form="old"))


def test_sources_are_named_once_and_linked_only_to_the_web() -> None:
    sources = [
        PAGE, PAGE, Citation("House rules", "file:///srv/rules.md", "x"), Citation("Plain", "http://x.io", "y"),
        Citation("Chat", "", "z"), Citation("bank.com", "https://evil.example", "z"),
    ]  # fmt: skip
    said = check(footer(answered(sources=sources), place="private", form="new"))
    assert "Cork>, House rules, Plain and 2 more" in said and "file:" not in said and "x.io" not in said
    assert "bank.com (<https://evil.example>)" in check(
        footer(answered(sources=sources[-1:]), place="private", form="new")
    )


def test_what_it_does_not_know_comes_with_the_offer_to_be_taught() -> None:
    unknown = answered("I don't know that yet.", route="unknown", quoted=False, sources=[])
    for form in ("new", "old"):
        found = answer(unknown, place="channel", form=form)  # type: ignore[arg-type]
        said = check(found)
        assert "Teach me" in said and "From" not in said
        assert buttons(found) == {"correct": "12", "why": "12", "privately": "12"}
        assert buttons(private(unknown, form=form)) == {"correct": "12", "why": "12"}  # type: ignore[arg-type]


def test_a_private_answer_can_be_posted() -> None:
    for form in ("new", "old"):
        found = private(answered(), form=form)  # type: ignore[arg-type]
        assert "from the notes" in check(found) and buttons(found) == {"publish": "12", "why": "12"}


@pytest.mark.parametrize("text", WILD, ids=range(len(WILD)))
def test_any_answer_fits(text: str) -> None:
    wild = answered(
        text,
        question=text,
        sources=[Citation(text, f"https://x.io/{text}", text)] * 2 + [Citation("", text, text)] * 50,
    )
    for route in ("weights", "notes", "unknown"):
        one = answered(
            **{name: getattr(wild, name) for name in ("text", "question", "sources")}, route=route, memory_id=3
        )
        for form in ("new", "old"):
            for found in (answer(one, place="channel", form=form), private(one, form=form)):  # type: ignore[arg-type]
                check(found)
                assert len(json.dumps(found, ensure_ascii=False)) < 13_000 + 300 * len(found)
    assert 1 <= len(fallback(text)) <= 3000
    check_view(why(wild, [memory(n, text, author=text, title=text) for n in range(40)], 3))
    for made in (correction_modal, teach_modal):
        check_view(made(12, text, text, "C1", "1.2", "1.3"))
    check_view(remember_modal(text, "C1", None, "1.3"))
    check_view(settings_modal("C1", text, "all", report_here=True, may_change=False, may_report=False))


def test_a_text_too_long_for_a_message_says_that_it_goes_on() -> None:
    long = "\n\n".join(["A sentence of ten words that says nothing at all, here."] * 400)
    assert body(long, form="new")[0]["text"].endswith("…") and body(long, form="old")[-1]["text"]["text"] == "…"
    assert body("", form="new") == [] == body(" \n", form="old")


def test_why_shows_route_version_evidence_and_cost() -> None:
    weights = answered(route="weights", quoted=True, memory_id=7, confidence=0.913)
    told = [memory(7, "The office closes at six.", state="learnt", title="Offices", said_at=NOW)]
    said = check_view(why(weights, told, 3))
    for words in (
        "the adapter answered it", "did not agree", "version 3", "confidence 0.91", "100 + 20 tokens", "Memory 7, learnt",
        "Offices, 2026-11-24", "“The office closes at six.”", "<https://wiki.example/cork",
    ):  # fmt: skip
        assert words in said
    assert "taught or corrected" in check_view(why(answered(memory_id=7), [], None))
    assert "neither" in check_view(why(answered(route="unknown", sources=[]), [], None)).lower()
    exact = "<!here> *not bold* & <b>"
    assert f"“{exact}”" in check_view(why(answered(sources=[Citation("x", "", exact)]), [], None))  # word for word


def test_dialogs_know_their_place() -> None:
    correction = correction_modal(12, "When?", "At five.", "C1", "1.2", "1.3")
    assert correction["title"]["text"] == "Correct this" and correction["callback_id"] == blocks.CORRECTION
    assert json.loads(correction["private_metadata"]) == {"answer": 12, "channel": "C1", "thread": "1.2", "ts": "1.3"}
    assert correction["blocks"][-1]["element"]["max_length"] == 2000
    teach = teach_modal(12, "When?", "I don't know.", "C1", None, "1.3")
    assert teach["title"]["text"] == "Teach me" and teach["callback_id"] == blocks.CORRECTION
    remember = remember_modal("The code\nis 4711.", "C1", "1.2", "1.3")
    assert remember["callback_id"] == blocks.REMEMBER
    assert remember["blocks"][0]["element"]["initial_value"] == "The code\nis 4711."
    assert "initial_value" not in remember_modal("", "C1", None, "1.3")["blocks"][0]["element"]


def test_settings_are_changed_only_by_those_who_may() -> None:
    view = settings_modal("C1", "general", "thread", report_here=True, may_change=True, may_report=True)
    assert "#general" in check_view(view) and json.loads(view["private_metadata"]) == {"channel": "C1"}
    radio, boxes = (one["element"] for one in view["blocks"] if one["type"] == "input")
    assert radio["initial_option"]["value"] == "thread" and len(radio["options"]) == 3
    assert boxes["initial_options"] == boxes["options"]
    off = settings_modal("C1", "general", "mention", report_here=False, may_change=True, may_report=True)
    assert "initial_options" not in off["blocks"][-1]["element"]
    shown = settings_modal("C1", "general", "all", report_here=False, may_change=False, may_report=False)
    assert "submit" not in shown and "any question" in check_view(shown) and "does not come here" in check_view(shown)


def test_what_somebody_did_is_confirmed_in_a_line() -> None:
    assert noted.correction("It closes at six.", time(2, 0), "Europe/Berlin") == (
        "Noted: “It closes at six.” It holds from now on; I study it tonight at 02:00 (Europe/Berlin)."
    )
    assert "not studied" in noted.correction("Six", None, "") and "“Six”." in noted.correction("Six", None, "")
    assert noted.remembered("The code is 4711.", time(2, 30), "").endswith("I study it tonight at 02:30.")
    assert noted.thumb(True) == "Noted: good." and "What would have been right?" in noted.thumb(False)
    assert ":tada: as good" in noted.emoji(":tada:", True) and "not good" in noted.emoji("x", False)
    assert noted.forgotten(["One.", "Two."]).startswith("Forgotten: “One.” “Two.”") and "nothing" in noted.forgotten([])
    assert "and 2 more" in noted.forgotten(["a", "b", "c", "d", "e"])
    assert noted.retracted() == "Taken back." and "“Six.”" in noted.retracted("Six.")
    for text in WILD:
        for line in (
            noted.correction(text, time(2), "UTC"), noted.remembered(text, None, "UTC"), noted.forgotten([text] * 9),
            noted.retracted(text),
        ):  # fmt: skip
            assert "\n" not in line and "<" not in line and len(line) < 3000


def overview(text: str = "", many: int = 0, **others: Any) -> Overview:
    side = Side(1, text, text)
    works = Works(
        [Place(text, "all", 1)] * many,
        [Connected(n, "slack", text, False, n % 2 == 0) for n in range(many)],
        LastNight("released", text, NOW, 4) if many else None,
    )
    values: dict[str, Any] = {
        "learnt": [Learnt(text, date(2026, 11, 24))] * many, "conflicts": [Conflict(side, side)] * many,
        "unanswered": [text] * many, "corrections": [Correction(text, "overridden", text)] * many,
        "switches": Switches(True, False), "works": works,
    }  # fmt: skip
    return Overview(**values | others)


@pytest.mark.parametrize("text", WILD, ids=range(len(WILD)))
@pytest.mark.parametrize("many", [0, 1, 500])
def test_any_overview_fits_into_home(text: str, many: int) -> None:
    check_view(home(overview(text, many)))


def test_home_tells_a_person_what_is_theirs() -> None:
    data = overview(
        learnt=[Learnt("The office closes at six.", date(2026, 11, 24))],
        conflicts=[Conflict(Side(3, "At six.", "Ada"), Side(4, "At seven.", "Ben"))],
        unanswered=["Who has the key?"],
        corrections=[
            Correction("It is 40 euros.", "tonight"),
            Correction("It is 30 euros.", "overridden", "It is 40 euros."),
            Correction("At six.", "disputed", "At seven."),
        ],
        works=None,
    )
    view = home(data)
    said = check_view(view)
    for words in (
        "2026-11-24: The office closes at six.", "Who has the key?", "It is 40 euros.: studied tonight",
        "overridden by something newer (“It is 40 euros.”)", "held back, in a dispute (“At seven.”)",
        "Study what I write: *on*", "Name me in the morning report: *off*",
    ):  # fmt: skip
        assert words in said
    assert "admins" not in said
    values = [(one["action_id"], one["value"]) for one in inner(view) if one.get("type") == "button"]
    assert values == [("settle", "3 4"), ("settle", "4 3"), ("own", "study off"), ("own", "name on")]


def test_home_warns_an_admin_before_slack_is_studied() -> None:
    works = Works(
        [Place("general", "thread", 12)],
        [Connected(1, "slack", "Slack", True, False), Connected(2, "folder", "Handbook", True, False)],
        LastNight("rejected", "The candidate failed its exam.", NOW, 4),
    )
    view = home(overview(works=works))
    said = check_view(view)
    assert "#general: answers in threads it is in, 12 members known" in said
    assert "*rejected*, version 4 is at work" in said and "Handbook: quoted, studied: *off*" in said
    slack, folder = (one for one in inner(view) if one.get("action_id") == blocks.TRAINING)
    assert slack["value"] == "1 on" and "API terms of 29 May 2025" in slack["confirm"]["text"]["text"]
    assert folder["value"] == "2 on" and "confirm" not in folder
    on = home(overview(works=Works([], [Connected(1, "slack", "Slack", True, True)], None)))
    assert not any("confirm" in one for one in inner(on))  # to switch it off needs no second thought


def night(state: str, content: dict[str, Any]) -> Night:
    return Night(1, 1, state, NOW, NOW, {}, content, "TrainingFailed: /srv/secret")  # type: ignore[arg-type]


def test_the_report_thanks_and_asks() -> None:
    done = night(
        "released",
        {
            "verdict": "Version 2 passed its exam and is at work.",
            "learnt": ["The office closes at six."],
            "corrected": ["It is 40 euros (net). (Ada)", "Jonas approves. (Ben)", "Six. (Ada)", "No name."],
            "refused": ["it recites 40% of what it studied"],
            "withheld": {"password": 2, "iban": 1},
            "forgotten": 3,
            "conflicts": ["words"],
            "teacher": "The teacher was away: no reply.",
        },
    )
    found = report(done, [Conflict(Side(3, "At six.", "Ada"), Side(4, "At seven.", ""))])
    said = check(found)
    for words in (
        "Good morning. I learnt something last night.", "Version 2 passed", "• The office closes at six.",
        "• It is 40 euros (net).\n• Jonas approves.\n• Six.\n• No name.", "Thank you, Ada and Ben.", "Ada: “At six.”",
        "Somebody: “At seven.”", "it recites 40%", "Withheld from study: password: 2, iban: 1", "Forgotten: 3",
        "The teacher was away: no reply.",
    ):  # fmt: skip
        assert words in said
    values = [one["value"] for one in inner(found) if one.get("action_id") == blocks.SETTLE]
    assert values == ["3 4", "4 3"]
    assert summary(done) == "I learnt something last night. 1 learnt, 4 corrected."


def test_a_night_that_failed_is_told_without_its_entrails() -> None:
    said = check(report(night("failed", {}), []))
    assert "did not succeed" in said and "secret" not in said
    assert "nothing new" in check(report(night("empty", {"withheld": {}, "forgotten": 0}), [])).lower()


@pytest.mark.parametrize("text", WILD, ids=range(len(WILD)))
def test_any_report_fits(text: str) -> None:
    lists = {name: [f"{text} ({text})"] * 300 for name in ("learnt", "corrected", "refused", "not_yet")}
    wild = night(
        "rejected", {**lists, "verdict": text, "withheld": {f"{text}{n}": n for n in range(99)}, "forgotten": 9}
    )
    found = report(wild, [Conflict(Side(1, text, text), Side(2, text, text))] * 99)
    said = check(found)
    assert "more" in said and len(found) <= 50 and len(json.dumps(found, ensure_ascii=False)) < 20_000
    check(report(night(text, {"learnt": text, "withheld": text, "refused": None}), []))

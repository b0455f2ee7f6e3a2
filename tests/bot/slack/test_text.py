"""Texts from and for Slack: what people meant, nothing that pings or links falsely, and parts that lose no words."""

import random
import re

import pytest

from bot.slack.markdown import fitted, mrkdwn, split
from bot.slack.text import APART, link, mentions, plain, safe_markdown, safe_mrkdwn, settled, shortened, without_mention

NAMES = {"U1": "Ada", "S9": "board"}

HOSTILE = [
    "<!channel> <!here|here> <!everyone> <!subteam^S1|@eng> <@U1> <@U1|ada> <#C1|general>",
    "@here, @channel and @EVERYONE, come",
    "`<!here>` and ``<@U1> ` x`` and ```<!channel>```",
    "```\n<!channel>\n<https://evil.example|bank.com>",
    "~~~\n<@U1>\n```\n<!here>\n~~~",
    "<https://evil.example|https://bank.com>",
    "[https://bank.com](https://evil.example)",
    "[bank.com [1]](https://evil.example)",
    "[[[bank.com]]](https://evil.example)",
    "[https://bank.com]\n\n[https://bank.com]: https://evil.example",
    "[bank.com][1]\n\n[1]: https://evil.example",
    "[a\nbank.com](https://evil.example)",
    "[click](javascript:alert(1)) [app](slack://open) ![bank.com](https://evil.example/x.png)",
    "[www.bank.com](https://bank.com@evil.example) [user@bank.com](mailto:evil@evil.example)",
    "\\<!channel> \\<@U1> &lt;!here&gt; &#60;!channel&#62; &amp;lt;!here&amp;gt;",
    "`unclosed <!here> [x](\n\n``` <!channel>",
    "> <!here>\n- <@U1>\n# <!channel>\n1. <!subteam^S1>",
    "| <!here> | [bank.com](https://evil.example) |\n|---|---|\n| ``` | <@U1> |",
    "\u202emoc.knab\u202c <\u202e!here>",
    "\ue0000\ue001 **\ue002** \ue000",
    "<<!here>> <!here <!channel>",
    "",
    "\n\n \n",
]
LINKED = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("<@U1> and <@U2|bob> and <@U3>", "@Ada and @bob and @someone"),
        ("see <#C1|general>, <#C2> and <#C3|>", "see #general, #channel and #channel"),
        ("<!channel> <!here|@here> <!everyone>", "@channel @here @everyone"),
        ("ask <!subteam^S1|@eng>, <!subteam^S9> or <!subteam^S2>", "ask @eng, @board or @group"),
        ("by <!date^1392734382^{date_short}|Feb 18>", "by Feb 18"),
        ("<https://x.io/a?b=1&amp;c=2|the page>", "the page (https://x.io/a?b=1&c=2)"),
        ("<https://x.io> <http://foo.com|foo.com>", "https://x.io http://foo.com"),
        ("<mailto:a@b.io|a@b.io> <mailto:a@b.io|Ada> <tel:+491|+491>", "a@b.io Ada (a@b.io) +491"),
        ("a &lt; b &amp;&amp; c &gt; d, and &amp;lt; stays", "a < b && c > d, and &lt; stays"),
        (
            "in code `<@U1> &lt;b&gt;` and ```<!here>\n<https://x.io>```",
            "in code `<@U1> <b>` and ```<!here>\nhttps://x.io```",
        ),
        ("*bold* and :smile: 🙂 stay", "*bold* and :smile: 🙂 stay"),
        ("", ""),
    ],
)
def test_what_people_write_becomes_plain_words(said: str, meant: str) -> None:
    assert plain(said, NAMES) == meant


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("<@B> when do we close?", "when do we close?"),
        ("<@B|school>: when?", "when?"),
        ("  <@B>,\nwhen?", "when?"),
        ("hey <@B> when?", "hey when?"),
        ("ask <@B>, or not", "ask, or not"),
        ("can you, <@B>?", "can you,?"),
        ("thanks <@B>", "thanks"),
        ("<@B> <@B> <@U1> hi", "<@U1> hi"),
        ("<@B> what is `<@B>`?", "what is `<@B>`?"),
        ("<@B>", ""),
        ("<@B> this:\n```\n  a  b\n```", "this:\n```\n  a  b\n```"),
    ],
)
def test_the_mention_of_the_bot_is_taken_off(said: str, left: str) -> None:
    assert without_mention(said, "B") == left


def test_a_mention_counts_where_somebody_speaks_to_the_bot() -> None:
    assert mentions("<@B> hi", "B") and mentions("hi <@B|school>", "B") and mentions("&gt; quoted\n<@B> and you?", "B")
    assert not mentions("<@BX> hi", "B") and not mentions("`<@B>`", "B") and not mentions("```\n<@B>\n```", "B")
    assert not mentions("&gt; <@B> said so", "B") and not mentions("look:\n&gt;&gt;&gt; a\n<@B>", "B")


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_pings_and_no_link_lies_in_markdown(text: str) -> None:
    shown = safe_markdown(text)
    assert not re.search(r"<[!@#]|<\w+:", shown)
    assert not re.search(r"(?<![\w.])@(here|channel|everyone)", shown, re.IGNORECASE)
    assert "\u202e" not in shown
    for label, url in LINKED.findall(shown):
        assert url.startswith("http") and not ("bank" in label and "evil" in url)
    assert f"]{APART}:" in shown or not re.search(r"^\[[^\]]*\]:", shown, re.MULTILINE)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_pings_and_no_link_lies_in_mrkdwn(text: str) -> None:
    for shown in (safe_mrkdwn(text), mrkdwn(text)):
        tokens = re.findall(r"<([^<>]*)>", shown)
        assert all(re.match(r"(?:https?://|mailto:)[^\s|]+(?:\||$)", token) for token in tokens)
        assert not any("bank" in token.partition("|")[2] and "evil" in token.partition("|")[0] for token in tokens)
        outside = re.sub(r"<[^<>]*>", "", shown)
        assert "<" not in outside and not re.search(r"&(?!amp;|lt;|gt;)", outside)
        assert not re.search(r"(?<![\w.])@(here|channel|everyone)", shown, re.IGNORECASE)
    assert "<" not in safe_mrkdwn(text)


def test_the_words_stay_readable() -> None:
    assert safe_mrkdwn("a < b & <!here>") == "a &lt; b &amp; &lt;!here&gt;"
    assert safe_markdown("a < b & c, `x < y`, <b>") == "a &lt; b & c, `x < y`, &lt;b>"
    assert safe_markdown("see <https://x.io/a?b=1&c=2>") == "see https://x.io/a?b=1&c=2"
    assert safe_markdown("[page](https://x.io/(a)) [bank.com](https://www.bank.com/x)") == (
        "[page](https://x.io/(a)) [bank.com](https://www.bank.com/x)"
    )
    assert safe_markdown("[https://bank.com](https://evil.example)") == "https://bank.com (https://evil.example)"
    assert safe_markdown("[handbook.pdf](https://x.io/h) [notes](notes.md)") == "[handbook.pdf](https://x.io/h) notes"
    assert safe_markdown("mail a@here.com") == "mail a@here.com"
    assert safe_markdown("a literal &lt;") == "a literal &amp;lt;"
    assert safe_markdown("> quoted\n\n```py\na < b") == "> quoted\n\n```py\na < b\n```"


def test_a_link_shows_its_label_or_where_it_leads() -> None:
    assert link("Offices | Cork", "https://x.io/a b?c=1&d=2") == "<https://x.io/a%20b?c=1&amp;d=2|Offices ¦ Cork>"
    assert link("Offices", "file:///x.md") == "Offices" == link("Offices", "") == link("Offices", "javascript:x")
    assert link("bank.com", "https://evil.example") == "bank.com (<https://evil.example>)"
    assert link("", "https://x.io") == "<https://x.io>" and link("<!here>", "") == "&lt;!here&gt;"
    assert link("x", "https://[broken") in ("x (<https://[broken>)", "<https://[broken|x>")


@pytest.mark.parametrize(
    ("markdown", "slack"),
    [
        ("**bold** __too__, *it* and _it_, ~~off~~", "*bold* *too*, _it_ and _it_, ~off~"),
        ("***both*** and **a *b* c**", "_*both*_ and *a _b_ c*"),
        ("2 * 3 * 4, 2*3*4, snake_case_name, a ** b", "2 * 3 * 4, 2*3*4, snake_case_name, a ** b"),
        ("# Title\n## **Sub** #", "*Title*\n*Sub*"),
        ("- one\n* two\n  + three\n- [x] done\n- [ ] open\n1. first", "• one\n• two\n  • three\n• ☑ done\n• ☐ open\n1. first"),
        ("[a **b**](https://x.io) ![pic](https://x.io/p)", "<https://x.io|a b> <https://x.io/p|pic>"),
        ("go to https://x.io/a_b_(c), now", "go to <https://x.io/a_b_(c)>, now"),
        ("`**x** <y>` and ``a`b``", "`**x** &lt;y&gt;` and `aˋb`"),
        ("```py\n**x** < [a](b)\n```", "```\n**x** &lt; [a](b)\n```"),
        ("~~~\n```\n~~~", f"```\n`{APART}`{APART}`\n```"),
        ("> **quoted**\n> # head", "> *quoted*\n> *head*"),
        (r"\*not\* \_it\_", "*not* _it_"),
        ("one\n\n---\ntwo", "one\n\n───\ntwo"),
        ("| a | bb |\n|---|:-:|\n| **x** | 日本 |\n| [l](https://x.io) | a\\|b |",
         "```\na                 bb\n────────────────  ────\nx                 日本\nl (https://x.io)  a|b\n```"),
        ("", ""),
    ],
)  # fmt: skip
def test_standard_markdown_in_slacks_own(markdown: str, slack: str) -> None:
    assert mrkdwn(markdown) == slack


def test_cut_at_paragraphs_then_lines_then_sentences_then_words_then_anywhere() -> None:
    assert split("one two\n\nthree four\n\nfive", 20) == ["one two\n\nthree four", "five"]
    assert split("one two\nthree four\nfive", 10) == ["one two", "three four", "five"]
    assert split("It is so. It is not so! Is it?", 15) == ["It is so.", "It is not so!", "Is it?"]
    assert split("one two three", 8) == ["one two", "three"]
    assert split("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert split("これは文。次の文。", 6) == ["これは文。", "次の文。"]
    assert split("see [the long label](https://x.io/long) here", 40) == [
        "see [the long label](https://x.io/long)",
        "here",
    ]
    assert split("short", 100) == ["short"] and split("", 10) == [] and split("\n \n", 10) == []


def test_no_emoji_flag_or_accent_is_cut_apart() -> None:
    for whole in ("👩‍👩‍👧‍👦", "👍🏽", "🇩🇪", "é", "❤️", "1️⃣", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"):
        for limit in range(len(whole), 3 * len(whole)):
            parts = split(whole * 9, limit)
            assert "".join(parts) == whole * 9
            assert all(len(part) <= limit and part.replace(whole, "") == "" for part in parts), whole


def test_a_fence_that_is_cut_is_closed_and_opened_again() -> None:
    code = "\n".join(f"line_{n} = {n}" for n in range(40))
    parts = split(f"Look:\n\n```python\n{code}\n```\n\nThat is all.", 120)
    assert parts[0] == "Look:" and all(len(part) <= 120 for part in parts)
    fences = [part for part in parts if part.startswith("```python\n")]
    assert len(fences) > 3 and all("\n```" in part for part in fences)
    assert "\n".join(part[10:].partition("\n```")[0] for part in fences) == code
    assert parts[-1].endswith("That is all.")


def test_the_head_of_a_table_that_is_cut_is_repeated() -> None:
    rows = [f"| row {n} | {n * n} |" for n in range(30)]
    parts = split("\n".join(["| name | square |", "|---|---|", *rows]), 150)
    assert len(parts) > 3 and all(len(part) <= 150 for part in parts)
    assert all(part.startswith("| name | square |\n|---|---|\n| row") for part in parts)
    assert [line for part in parts for line in part.split("\n")[2:]] == rows


ALPHABET = [
    "word", "Ein", "Satz. ", "weiter! ", " ", " ", "\n", "\n\n", "- item", "# head\n", "```", "\n```\n", "~~~\n", "`", "**", "*",
    "_", "[label](https://x.io/a)", "[", "](", "<!here>", "<@U1>", "&amp;", "&", "<", ">", "@here ", "| a | b |\n|---|---|\n",
    "| c | d |\n", "👩‍👧", "🇩🇪", "é", "日本語。", "مرحبا ", "\\", "https://x.io/?a=1&b=2 ", "x" * 90, "> ", "\t", "]:", "\u202e",
]  # fmt: skip


def texts(count: int) -> list[str]:
    """Random texts of all that is special, the same at every run."""
    chance = random.Random(7)
    return ["".join(chance.choices(ALPHABET, k=chance.randint(0, 120))) for _ in range(count)]


def test_parts_of_any_text_are_short_enough_and_lose_no_words() -> None:
    chance = random.Random(11)
    for text in texts(400):
        limit = chance.choice([1, 2, 7, 30, 80, 200])
        parts = split(text, limit)
        assert all(0 < len(part) <= limit for part in parts), (text, limit)
        rest = iter("".join(parts))
        lost = [character for character in re.sub(r"[\s`~]", "", text) if character not in rest]
        assert not lost, (text, limit, lost[:5])  # in order; what is more are marks and heads said again


def test_of_any_text_all_is_shown_within_the_limit_however_it_grows() -> None:
    for text in [*texts(200), "&" * 500, "<" * 500, "<!here>" * 99]:
        for made in (safe_markdown, safe_mrkdwn, mrkdwn):
            parts = fitted(text, 90, made)
            assert all(len(part) <= 90 for part in parts)
            if not re.search("```|~~~", text):  # the words behind them are a language, for which mrkdwn has no place
                assert len(re.findall("word|Ein|Satz", "".join(parts))) >= len(re.findall("word|Ein|Satz", text))


def test_of_any_text_nothing_pings() -> None:
    for text in texts(400):
        assert not re.search(r"<[!@#]", safe_markdown(text)), text
        assert not re.search(r"<(?!https?://|mailto:)", mrkdwn(text)), text


def test_what_a_stream_shows_is_never_taken_back() -> None:
    for text in [*texts(120), *HOSTILE, "It closes at six. Ask [Ada](https://x.io) then."]:
        end = safe_markdown(text)
        for at in range(0, len(text) + 1, 3):
            assert end.startswith(safe_markdown(settled(text[:at]))), (text, at)
    assert settled("The office closes at si") == "The office closes at"


def test_shortened_to_one_line_at_a_word() -> None:
    assert shortened("one\n two", 20) == "one two"
    assert shortened("one two three four", 12) == "one two…"
    assert shortened("one two three", 8) == "one two…"
    assert shortened("x" * 20, 10) == "x" * 9 + "…"
    assert shortened("👩‍👩‍👧‍👦" * 3, 10) == "👩‍👩‍👧‍👦…"
    assert all(len(shortened(text, 25)) <= 25 for text in texts(200))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "[a ",
        "**a ",
        "`",
        "``a",
        "[](x",
        "<a:",
        "| ",
        "[a [b] ",
        "__a ",
        "[[",
        "&",
        "\n> ",
        "<@B>",
        "- ",
        "~~a",
        "![](<",
    ],
)
def test_hostile_repetition_costs_no_time(piece: str) -> None:
    text = piece * (40_000 // len(piece))
    safe_markdown(text), mrkdwn(text), plain(text, {}), without_mention(text, "B"), mentions(text, "B")
    assert all(len(part) <= 3000 for part in split(text, 3000))

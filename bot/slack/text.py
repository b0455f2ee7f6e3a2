"""Texts from and for Slack: people's words as plain text, answers as Slack may show them. Nothing here does I/O.

Slack has two languages. Its own, mrkdwn, is that of events and text objects: `&`, `<`, `>` are entities, and `<…>` is a
mention or a link. A `markdown` block and the `markdown_text` of a stream are standard markdown, in which Slack still takes
a `<…>` of its own for what it is. So what people, pages and models wrote goes through `safe_mrkdwn` or `safe_markdown`,
by where it is to stand; `markdown.mrkdwn` translates the one into the other, and its outcome is safe.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal
from urllib.parse import quote, urlsplit

APART = "\u2060"
"""Word joiner: put between two characters it is not seen, and they are no longer a mention or a link."""

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_MEANT = {"&amp;": "&", "&lt;": "<", "&gt;": ">"}
# Turns a line round for the eye alone, so that an address reads as another; right-to-left scripts do without.
_OVERRIDES = dict.fromkeys(map(ord, "\u202d\u202e"))

_CODE = r"(?P<code>```.*?```|`[^`\n]+`)"
_SAID = re.compile(rf"{_CODE}|<(?P<token>[^<>]+)>|(?P<entity>&(?:amp|lt|gt);)", re.DOTALL)
_BARE_PING = re.compile(r"(?<![\w.+-])@(?=(?:here|channel|everyone|group)\b)", re.IGNORECASE)
_TOKEN = re.compile(r"<(?=[!@#]|\w+:)")
_FENCE = re.compile(r"^([ \t]*)(`{3,}(?=[^`]*$)|~{3,})(.*)$")
_RULE = re.compile(r"^[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)+(?:[ \t]*:?-+:?[ \t]*)?$")
INLINE = re.compile(
    r"(?P<escape>\\[!-/:-@\[-`{-~])"
    r"|(?P<code>(?<!`)(?P<ticks>`+)(?!`)(?P<inside>.+?)(?<!`)(?P=ticks)(?!`))"
    r"|!?\[(?P<label>(?:[^\[\]\n]|\[[^\[\]\n]*\]){0,300}+)\]"
    r"\([ ]*<?(?P<url>(?:[^\s<>()]|\([^\s<>()]*\))*+)>?(?:[ ]+\"[^\"\n]*\")?[ ]*\)"
    r"|<(?P<auto>(?:https?://|mailto:)[^\s<>|]+)>"
    r"|(?P<bare>https?://(?:[^\s<>()\[\]|\"“”`]|\([^\s<>()\[\]|]*\))+)",
    re.DOTALL,
)
"""What stands in a paragraph of markdown and is not to be touched by what is done to its words."""
_PLACE = re.compile(r"(?P<scheme>\w+://)?(?:[^\s/@]*@)?(?P<host>(?:[\w-]+\.)+(?P<top>[a-z]\w+))", re.IGNORECASE)
# Endings of files that people link by name; as the last part of a bare "place.md" they name no host.
_FILES = frozenset(
    ("md", "txt", "pdf", "csv", "docx", "xlsx", "pptx", "html", "json", "yaml", "toml", "log", "py", "sh", "zip")
)

Kind = Literal["text", "table", "fence", "blank"]


def plain(text: str, names: Mapping[str, str]) -> str:
    """What a person wrote in Slack, in plain words; `names` are those of users, groups and channels by id."""
    return _SAID.sub(lambda found: _meant(found, names), text)


def without_mention(text: str, bot_user_id: str) -> str:
    """The text without the mentions of the bot, but for those in code."""
    mention = rf"{_CODE}|(?P<lead>^\s*)?[ \t]*<@{re.escape(bot_user_id)}(?:\|[^<>]*)?>(?(lead)\s*[,:]?)[ \t]*"

    def gone(found: re.Match[str]) -> str:
        if found["code"]:
            return found[0]
        before, after = text[: found.start()], text[found.end() :]
        return " " if before and after and not before[-1].isspace() and re.match(r"[\w<(“\"'&]|:\w", after) else ""

    return re.sub(mention, gone, text, flags=re.DOTALL).strip()


def mentions(text: str, user_id: str) -> bool:
    """Whether the text speaks to a user; what stands in code or in a quotation does not."""
    spoken = re.sub(_CODE, "", text, flags=re.DOTALL)
    spoken = re.split(r"^\s*&gt;&gt;&gt;", spoken, maxsplit=1, flags=re.MULTILINE)[0]  # it quotes all that follows
    spoken = re.sub(r"^\s*&gt;.*$", "", spoken, flags=re.MULTILINE)
    return bool(re.search(rf"<@{re.escape(user_id)}[|>]", spoken))


def safe_mrkdwn(text: str) -> str:
    """Words as a mrkdwn text object may hold them: shown as they are, without a mention or a link in them.

    mrkdwn has no way to escape `*`, `_`, `~` and backticks: they may still make a word bold.
    """
    return calm(text).translate(_ENTITIES)


def safe_markdown(markdown: str) -> str:
    """Markdown as a markdown block or a stream may hold it: nothing pings, and no link says another place than it leads to.

    Code keeps its characters, since entities are not read there: a mention in it is taken apart by a character that is
    not seen.
    """
    shown: list[str] = []
    for kind, lines in _paragraphs(markdown):
        block = "\n".join(lines)
        if kind == "fence":
            mark, code = fenced(lines)
            shown.append(_TOKEN.sub(f"<{APART}", block) + (f"\n{mark}" if len(code) == len(lines) - 1 else ""))
        else:
            shown.append(_safe_paragraph(block))
    return "\n".join(shown)


def settled(markdown: str) -> str:
    """The beginning of a text under way that will not read otherwise, whatever follows.

    What a stream may show: `safe_markdown` of it is the beginning of `safe_markdown` of the whole.
    """
    sure = markdown.rstrip() if markdown[-1:].isspace() else "".join(markdown.rsplit(maxsplit=1)[:-1])
    start = len(sure) + 1
    # A line that seems to open a fence may yet go on as the line of a paragraph: so that before it counts too.
    for kind, lines in _paragraphs(sure)[:-3:-1]:
        start -= len("\n".join(lines)) + 1
        if kind != "fence":
            opening = re.search(r"[`\[<\\]", sure[start:])
            return sure[: start + opening.start()] if opening else sure
        sure = sure[:start]
    return sure


def link(label: str, uri: str) -> str:
    """A link in mrkdwn. The label alone where the address is none of the web's; both where it names another place."""
    words = safe_mrkdwn(" ".join(label.split())).replace("|", "¦")
    if not address(uri):
        return words
    url = re.sub(r"[\s|<>]", lambda found: quote(found[0]), uri).replace("&", "&amp;")
    if not words:
        return f"<{url}>"
    return f"<{url}|{words}>" if honest(label, uri) else f"{words} (<{url}>)"


def address(uri: str) -> bool:
    """Whether an address is one to lead people to."""
    return bool(re.match(r"(?:https?://[^\s/]|mailto:\S|tel:\S)", uri, re.IGNORECASE)) and len(uri) <= 1500


def honest(label: str, uri: str) -> bool:
    """False where a link's label names a host that it does not lead to."""
    try:
        host = (urlsplit(uri).hostname or uri.rpartition("@")[2]).lower()
    except ValueError:
        return False
    for place in _PLACE.finditer(label):
        named = place["host"].lower().removeprefix("www.")
        is_file = place["top"].lower() in _FILES and not place["scheme"]
        if not is_file and host != named and not host.endswith(f".{named}"):
            return False
    return True


def calm(text: str) -> str:
    """The same words, but no bare @here and no characters that turn the reading round."""
    return _BARE_PING.sub(f"@{APART}", text.translate(_OVERRIDES))


def shortened(text: str, limit: int) -> str:
    """The text on one line, cut at a word with “…” where it is longer than `limit` characters."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = text[: max(0, limit - 1)]
    word = head.rfind(" ") if text[len(head)] != " " else len(head)
    cut = word if word > limit // 2 else whole(text, len(head))
    return f"{text[:cut].rstrip()}…"


def whole(text: str, at: int) -> int:
    """The place at or before `at` where a cut breaks no emoji, flag or accent apart; `at` where there is none near."""
    place = at
    while 0 < place < len(text) and at - place < 64 and _joined(text, place):
        place -= 1
    return place if place and at - place < 64 else at


def blocks_of(markdown: str) -> Iterator[tuple[Kind, list[str]]]:
    """The lines of a markdown text in blocks; all lines, in order. A fence's first and last line are its marks."""
    lines = markdown.split("\n")
    at = 0
    while at < len(lines):
        start, opened = at, _FENCE.match(lines[at])
        at += 1
        kind: Kind = "text"
        if opened:
            kind = "fence"
            while at < len(lines) and not _closes(lines[at], opened[2]):
                at += 1
            at += 1
        elif not lines[start].strip():
            kind = "blank"
        elif _heads_table(lines, start):
            kind = "table"
            while at < len(lines) and "|" in lines[at]:
                at += 1
        else:
            while at < len(lines) and _goes_on(lines, at):
                at += 1
        yield kind, lines[start:at]


def fenced(lines: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The mark that ends a fence, and the lines of code in it; its last may be missing."""
    opened = _FENCE.match(lines[0])
    mark = f"{opened[1]}{opened[2]}" if opened else ""
    return mark, lines[1:-1] if len(lines) > 1 and _closes(lines[-1], mark.strip()) else lines[1:]


def _paragraphs(markdown: str) -> list[tuple[Kind, list[str]]]:
    """The blocks, tables taken for paragraphs: of a text under way it shows only later which it is."""
    found: list[tuple[Kind, list[str]]] = []
    for kind, lines in blocks_of(markdown):
        is_words = kind in ("text", "table")
        if is_words and found and found[-1][0] == "text":
            found[-1][1].extend(lines)
        else:
            found.append(("text" if is_words else kind, lines))
    return found


def _goes_on(lines: list[str], at: int) -> bool:
    return bool(lines[at].strip()) and not _FENCE.match(lines[at]) and not _heads_table(lines, at)


def _heads_table(lines: list[str], at: int) -> bool:
    return "|" in lines[at] and at + 1 < len(lines) and bool(_RULE.match(lines[at + 1]))


def _closes(line: str, fence: str) -> bool:
    line = line.strip()
    return len(line) >= len(fence) and not line.strip(fence[0])


def _safe_paragraph(text: str) -> str:
    shown, at = "", 0
    for found in INLINE.finditer(text):
        shown += _safe_words(text[at : found.start()]) + _safe_inline(found)
        at = found.end()
    return shown + _safe_words(text[at:])


def _safe_words(text: str) -> str:
    text = re.sub(r"&(?=#?\w+;)", "&amp;", calm(text)).replace("<", "&lt;")
    # What else markdown takes for a link, brackets in brackets and an address defined elsewhere, is taken apart.
    return text.replace("](", f"]{APART}(").replace("]:", f"]{APART}:")


def _safe_inline(found: re.Match[str]) -> str:
    if found["escape"]:
        return "&lt;" if found["escape"] == r"\<" else found["escape"]
    if found["code"]:
        return _TOKEN.sub(f"<{APART}", found["code"])
    if found["label"] is None:
        return found["auto"] or found["bare"]
    words, url = _safe_words(found["label"]), found["url"]
    if not address(url):
        return words
    return f"[{words}]({url})" if words and honest(found["label"], url) else f"{words} ({url})".strip()


def _meant(found: re.Match[str], names: Mapping[str, str]) -> str:
    if found["code"]:
        # A mention in code is one that somebody writes about; an address there was made a link by Slack, not by them.
        code = re.sub(r"<(\w+:[^|<>]+)(?:\|([^<>]*))?>", lambda inner: inner[2] or inner[1], found["code"])
        return _unescaped(code)
    return _unescaped(found["entity"]) if found["entity"] else _named(found["token"], names)


def _named(token: str, names: Mapping[str, str]) -> str:
    what, _, label = token.partition("|")
    sign, id, label = what[0], what[1:], _unescaped(label)
    if sign == "@":
        return f"@{names.get(id) or label.removeprefix('@') or 'someone'}"
    if sign == "#":
        return f"#{label or names.get(id) or 'channel'}"
    if sign != "!":
        url = _unescaped(what)
        bare = re.sub(r"^(?:https?://|mailto:|tel:)", "", url)
        if url.startswith(("mailto:", "tel:")):
            return bare if label in ("", bare) else f"{label} ({bare})"
        return url if label.rstrip("/") in ("", url, bare.rstrip("/")) else f"{label} ({url})"
    kind, _, rest = id.partition("^")
    if kind == "date":
        return label
    if kind == "subteam":
        return f"@{label.removeprefix('@') or names.get(rest) or 'group'}"
    return f"@{kind}" if kind in ("here", "channel", "everyone", "group") else label


def _unescaped(text: str) -> str:
    return re.sub(r"&(?:amp|lt|gt);", lambda found: _MEANT[found[0]], text)


def _joined(text: str, at: int) -> bool:
    """Whether the character at a place is one with that before it (the common part of Unicode's UAX 29)."""
    one, before = text[at], text[at - 1]
    if _is_flag(one) and _is_flag(before):
        first = at - 1
        while first > 0 and _is_flag(text[first - 1]):
            first -= 1
        return (at - first) % 2 == 1
    extends = unicodedata.category(one) in ("Mn", "Me", "Mc") or one == "\u200d" or "\U000e0020" <= one <= "\U000e007f"
    return extends or before == "\u200d" or "\U0001f3fb" <= one <= "\U0001f3ff" or (before, one) == ("\r", "\n")


def _is_flag(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"

"""Standard markdown, as models and pages write it: in Slack's own mrkdwn, and in parts of the length Slack takes."""

import re
from collections.abc import Callable, Iterator, Sequence

from rich.cells import cell_len

from bot.slack.text import APART, INLINE, Kind, blocks_of, calm, fenced, link, safe_mrkdwn, whole

# Stand for what is kept from the marks of emphasis, and for the marks that are Slack's already.
_KEPT, _END, _STAR = "\ue000", "\ue001", "\ue002"
_OURS = dict.fromkeys(map(ord, _KEPT + _END + _STAR))
_BOLD = re.compile(r"\*\*(?=[^\s*])(.{1,500}?)(?<=\S)\*\*|(?<!\w)__(?=[^\s_])(.{1,500}?)(?<=\S)__(?!\w)")
_ITALIC = re.compile(r"(?<![\w*\\])\*(?=[^\s*])(.{1,500}?)(?<=[^\s*])\*(?![\w*])")
_STRUCK = re.compile(r"~~(?=[^\s~])(.{1,500}?)(?<=\S)~~")
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(.*?)(?:[ \t]+#+)?[ \t]*$")
_ITEM = re.compile(r"^([ \t]*)[-*+][ \t]+(\[[ xX]\][ \t]+)?(.*)$")
_LINE_ACROSS = re.compile(r"^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$")
_QUOTED = re.compile(r"^ {0,3}(?:>[ ]?)+(.*)$")
_WIDEST = 40
"""Columns a cell of a table is filled up to; a longer one sticks out."""
_SENTENCE = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？]")
_WORD = re.compile(r"\S(?=\s)")


def mrkdwn(markdown: str) -> str:
    """Standard markdown in Slack's mrkdwn, safe to show: for the `text` of a message, and for servers without more."""
    return "\n".join(line for kind, lines in blocks_of(markdown.translate(_OURS)) for line in _said(kind, lines))


def split(markdown: str, limit: int) -> list[str]:
    """The text in parts of at most `limit` characters, cut at paragraphs, else lines, else sentences, else words.

    A code block that is cut is closed and opened again, a table's head is repeated. No words are lost; blank text has no
    parts.
    """
    limit = max(1, limit)
    parts: list[str] = []
    part, between = "", ""
    for kind, lines in blocks_of(markdown):
        block = "\n".join(lines)
        if kind == "blank":
            between = "\n\n"
        elif part and len(part) + len(between) + len(block) <= limit:
            part, between = f"{part}{between}{block}", "\n"
        else:
            parts += [part] if part else []
            *cut, part = [block] if len(block) <= limit else _cut(kind, lines, limit)
            parts += cut
            between = "\n"
    return [*parts, part] if part else parts


def fitted(markdown: str, limit: int, made: Callable[[str], str]) -> list[str]:
    """`made` of each part of the text, none longer than `limit`: made safe a text grows, and is then cut finer."""
    return list(_fitted(markdown, limit, limit, made))


def _fitted(markdown: str, size: int, limit: int, made: Callable[[str], str]) -> Iterator[str]:
    for part in split(markdown, size):
        said = made(part)
        if len(said) <= limit or len(part) == 1:
            yield said[:limit]
        else:
            yield from _fitted(part, min(size, len(part)) // 2, limit, made)


def _cut(kind: Kind, lines: Sequence[str], limit: int) -> list[str]:
    """A block that is longer than the limit."""
    if kind == "table":
        head = "\n".join(lines[:2]) + "\n"
        if len(head) <= limit // 2:
            return [f"{head}{rows}" for rows in _filled(lines[2:], limit - len(head))]
    if kind == "fence":
        mark, code = fenced(lines)
        frame = len(lines[0]) + len(mark) + 2
        if frame <= limit // 2:
            return [f"{lines[0]}\n{some}\n{mark}" for some in _filled(code, limit - frame)]
    return _filled(lines, limit)


def _filled(lines: Sequence[str], limit: int) -> list[str]:
    """Lines put together up to the limit; a longer one is cut."""
    parts: list[str] = []
    part: str | None = None
    for line in lines:
        if part is not None and len(part) + 1 + len(line) <= limit:
            part = f"{part}\n{line}"
            continue
        parts += [part] if part is not None else []
        *cut, part = _wrapped(line, limit)
        parts += cut
    return [one for one in [*parts, part or ""] if one.strip()] or [""]


def _wrapped(line: str, limit: int) -> Iterator[str]:
    while len(line) > limit:
        at = _place(line, limit)
        if head := line[:at].rstrip():
            yield head
        line = line[at:].lstrip()
    yield line


def _place(line: str, limit: int) -> int:
    """Where to cut a line that is too long, not within a link or code if there is another place."""
    kept = [found.span() for found in INLINE.finditer(line, 0, limit + 1500) if not found["escape"]]
    for ending, least in ((_SENTENCE, limit // 3), (_WORD, 1)):
        places = [found.end() for found in ending.finditer(line, 0, limit + 1) if found.end() <= limit]
        free = [place for place in places if place >= least and not any(a < place < b for a, b in kept)]
        if free:
            return free[-1]
    starts = [a for a, b in kept if a < limit < b and b - a <= limit and a > 0]
    return starts[0] if starts else whole(line, limit)


def _said(kind: Kind, lines: Sequence[str]) -> Iterator[str]:
    if kind == "fence":
        yield from _code(fenced(lines)[1])
    elif kind == "table":
        yield from _code(list(_aligned([_cells(line) for line in (lines[0], *lines[2:])])))
    else:
        yield from map(_line, lines)


def _code(lines: Sequence[str]) -> Iterator[str]:
    """Lines of code, or of a table, as they are; entities are read in mrkdwn's code."""
    yield "```"
    for line in lines:
        yield safe_mrkdwn(line).replace("```", f"`{APART}`{APART}`")
    yield "```"


def _cells(row: str) -> list[str]:
    cells = re.split(r"(?<!\\)\|", row.strip().removeprefix("|").removesuffix("|"))
    return [_unmarked(cell.strip().replace(r"\|", "|")) for cell in cells]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths: dict[int, int] = {}
    for row in rows:
        for n, cell in enumerate(row):
            widths[n] = max(widths.get(n, 0), min(cell_len(cell), _WIDEST))
    for nth, row in enumerate(rows):
        filled = (cell + " " * (widths[n] - cell_len(cell)) for n, cell in enumerate(row))
        yield "  ".join(filled).rstrip()
        if nth == 0:
            yield "  ".join("─" * widths[n] for n in range(len(row)))


def _line(line: str) -> str:
    if heading := _HEADING.match(line):
        words = _inline(heading[1], _STAR).strip()
        return f"*{words}*" if words else ""
    if _LINE_ACROSS.match(line):
        return "───"
    if quoted := _QUOTED.match(line):
        return f"> {_line(quoted[1])}"
    if item := _ITEM.match(line):
        box = {"": "", "[ ]": "☐ "}.get((item[2] or "").strip(), "☑ ")
        return f"{item[1]}• {box}{_inline(item[3])}"
    return _inline(line)


def _inline(text: str, drop: str = "") -> str:
    """A line's words; `drop` is a mark of Slack's that they are to be without."""
    kept: list[str] = []

    def keep(said: str) -> str:
        kept.append(said)
        return f"{_KEPT}{len(kept) - 1}{_END}"

    def one(found: re.Match[str]) -> str:
        if found["escape"]:
            return keep(safe_mrkdwn(found["escape"][1]))
        if found["code"]:
            return keep(f"`{safe_mrkdwn(found['inside'].strip() or ' ').replace('`', 'ˋ')}`")
        if found["bare"]:
            url = found["bare"].rstrip(".,;:!?'’*_~")
            return keep(link("", url)) + found["bare"][len(url) :]
        return keep(link(_unmarked(found["label"] or ""), found["url"] if found["auto"] is None else found["auto"]))

    text = safe_mrkdwn(INLINE.sub(one, text))
    text = _BOLD.sub(lambda found: f"{_STAR}{found[1] or found[2]}{_STAR}", text)
    text = _STRUCK.sub(r"~\1~", _ITALIC.sub(r"_\1_", text)).replace(_STAR, "*" if drop != _STAR else "")
    return re.sub(f"{_KEPT}(\\d+){_END}", lambda found: kept[int(found[1])], text)


def _unmarked(text: str) -> str:
    """Words without marks, for where Slack shows none: a link's label, a cell."""
    text = INLINE.sub(
        lambda found: (
            found["inside"]
            or (found["escape"] or "")[1:]
            or found["auto"]
            or found["bare"]
            or f"{found['label'] or ''} ({found['url']})".strip()
        ),
        text,
    )
    return calm(re.sub(r"\*\*|__|~~", "", text))

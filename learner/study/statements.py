"""From a document's or a message's text to self-contained statements: what a memory is made of.

A statement is one sentence, list item or table row together with its context, "Page title › Heading": enough to be
understood, asked about and recited alone. Nothing is rephrased here, so a statement can always be quoted; where it means nothing
alone, what it leans on is put before it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# Sentences that lean on the one before them ("It is paid monthly."): they are kept together with it.
_LEANS = re.compile(
    r"^(it|its|they|their|them|this|these|that|those|he|she|both|either|neither|otherwise|the same|such|if not|"
    r"in that case|after that|then|there|here|so)\b",
    re.IGNORECASE,
)
# Replies that say nothing without what they reply to ("Yes, from Monday on.").
_REPLIES = re.compile(
    r"^\W*(yes|yeah|yep|yup|no|nope|nah|ok|okay|sure|agreed|right|correct|exactly|deal|done|decided|fine|sounds good|works for me|"
    r"sorry, (?:no|yes)|go ahead|go for it|let['’]s|approved|(?:i|we) (?:do|don['’]t)|not yet|only if|as of|from (?:now|next))\b|"
    r"^\W*\+1\b",
    re.IGNORECASE,
)
# "I" as somebody says it: not of "Part I covers", "I/O", "my.cnf"; what is quoted was said by somebody else.
_FIRST_PERSON = re.compile(
    r"(?<![\w/.-])I(?:['’](?:m|ll|ve|d)\b|\s+(?:was|always|also|(?!\w*s\b)[a-z]\w*))|(?<![\w/.-])(?:my|me|mine)(?![\w/-]|\.\w)|"
    r"(?:^|[.!?:]\s)My\s+[a-z]"
)
_QUOTED = re.compile(r"[“\"][^”\"]*[”\"]")
_ABBREVIATIONS = re.compile(
    r"\b(e\.g|i\.e|etc|vs|approx|no|nr|mr|mrs|ms|dr|prof|st|inc|ltd|dept|u\.s|a\.m|p\.m|cf)\.$", re.I
)
_BOUNDARY = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9*`_À-Þ])")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_ITEM = re.compile(r"^(\s*)(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?(.*)$")
_RULE = re.compile(r"^\s*([-*_=]\s*){3,}$")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")

# A statement that asks, greets or only points elsewhere teaches nothing.
_MARKS_OF_FACT = re.compile(
    r"\d|\b(must|should|shall|need|needs|required?|may|can(?:not|'t)?|never|always|only|every|each|all|no|not|before|after|"
    r"until|within|by default|because|approv\w*|owns?|owner|responsible|decid\w*|agreed?|uses?|called|named|means|is|are|was|"
    r"costs?|pays?|paid|gets?|goes|lives|runs?|starts?|ends?|opens?|closes?|takes?|has|have)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One quotable statement and where it stands.

    `text` is what is recited, `context` is "Title › Heading › ..." (may be empty), `ordinal` counts from 0 in the text,
    `passage` numbers the block (paragraph, list, table) that it came from.
    """

    text: str
    context: str
    ordinal: int
    passage: int


def plain(text: str) -> str:
    """Markdown inline marks taken off, white space collapsed: links become their words, images vanish."""
    text = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"<(?:https?://|mailto:)([^>\s]+)>", r"\1", text)
    text = re.sub(r"</?[a-zA-Z][^>]*>", " ", text)
    text = re.sub(r"(\*\*|__|`|~~)", "", text)
    text = re.sub(r"(?<![\w*])[*_](?=\S)|(?<=\S)[*_](?![\w*])", "", text)
    return re.sub(r"\s+", " ", text).strip()


def sentences(text: str) -> list[str]:
    """A paragraph cut into sentences; abbreviations and decimals do not end one."""
    found: list[str] = []
    for piece in _BOUNDARY.split(text):
        if found and _ABBREVIATIONS.search(found[-1]):
            found[-1] += " " + piece
        elif piece.strip():
            found.append(piece.strip())
    return found


def of_document(text: str, title: str) -> list[Statement]:
    """The statements of a markdown text, in order; headings become context."""
    statements: list[Statement] = []
    for passage, (context, block) in enumerate(_blocks(text, title)):
        for line in _resolved(block):
            if _says_something(line):
                statements.append(Statement(line, context, len(statements), passage))
    return statements


def of_message(
    text: str, place: str, author: str = "", asked: str = "", forgotten: Sequence[str] = ()
) -> list[Statement]:
    """The statements of a chat message; questions, greetings and thanks are left out.

    A message that `replies` is said together with the question that was `asked` before it in its thread. Who speaks in the first
    person, or decides so, is named: "May partners come along? Orla: Yes, one guest each.". What of it was `forgotten` is left out,
    whatever was put before it then or is now.
    """
    lines = _resolved(_said(text))
    statements: list[Statement] = []
    for number, line in enumerate(lines):
        leads = bool(asked) and not number and not line.endswith("?")
        whole = f"{asked} {line}" if leads else line
        if not _says_something(whole) or len(whole.split()) < 5 or any(gone.endswith(line) for gone in forgotten):
            continue
        said = f"{asked} {author}: {line}" if leads and author else f"{asked} {line}" if leads else spoken(line, author)
        statements.append(Statement(said, place, number, 0))
    return statements


def spoken(line: str, author: str) -> str:
    """A line with the name of who said it where that is not clear without: "Ines: Invoices must reach me by Friday."."""
    return f"{author}: {line}" if author and _FIRST_PERSON.search(_QUOTED.sub("", line)) else line


def replies(text: str) -> bool:
    """True where a message begins with words that mean nothing without what they reply to."""
    said = _said(text)
    return bool(said) and bool(_REPLIES.match(said[0]) or _LEANS.match(said[0]))


def asks(text: str) -> str:
    """The question that a message ends with, "" where it ends with none or one too short to mean anything ("Really?")."""
    end = next(reversed(_said(text)), "")
    return end if end.endswith("?") and len(end.split()) >= 4 else ""


def _said(text: str) -> list[str]:
    return [sentence for line in text.splitlines() for sentence in sentences(plain(line))]


def _says_something(line: str) -> bool:
    words = line.split()
    if line.endswith("?") or not 3 <= len(words) <= 90:
        return False
    return bool(_MARKS_OF_FACT.search(line)) or len(words) >= 5


def _resolved(lines: list[str]) -> list[str]:
    """Lines that lean on their predecessor joined to it, at most two together."""
    out: list[str] = []
    joined = False
    for line in lines:
        if out and not joined and _LEANS.match(line) and len(out[-1].split()) + len(line.split()) <= 60:
            out[-1] += " " + line
            joined = True
        else:
            out.append(line)
            joined = False
    return out


def _blocks(text: str, title: str) -> Iterator[tuple[str, list[str]]]:
    """(context, lines) of each paragraph, list and table, in order."""
    headings: list[tuple[int, str]] = []
    lines = text.splitlines()
    position = 0
    intro = ""
    while position < len(lines):
        line = lines[position]
        if _FENCE.match(line):
            position = _after_fence(lines, position)
        elif not line.strip() or (_RULE.match(line) and "|" not in line):
            position += 1
        elif match := _HEADING.match(line):
            level = len(match[1])
            headings = [h for h in headings if h[0] < level] + [(level, plain(match[2]))]
            intro = ""
            position += 1
        elif "|" in line and position + 1 < len(lines) and _TABLE_RULE.match(lines[position + 1]):
            rows, position = _table(lines, position)
            yield _context(title, headings), rows
        elif _ITEM.match(line):
            items, position = _list(lines, position)
            yield _context(title, headings), [f"{intro} {item}" if intro else item for item in items]
            intro = ""
        else:
            paragraph, position = _paragraph(lines, position)
            said = sentences(plain(paragraph))
            # "You may bring:" introduces the list below it and says nothing alone.
            intro = said.pop() if said and said[-1].endswith(":") else ""
            if said:
                yield _context(title, headings), said


def _context(title: str, headings: list[tuple[int, str]]) -> str:
    names = [title, *(name for _, name in headings)]
    kept = [name for n, name in enumerate(names) if name and name.lower() not in {x.lower() for x in names[:n]}]
    return " › ".join(kept)


def _after_fence(lines: list[str], position: int) -> int:
    for end in range(position + 1, len(lines)):
        if _FENCE.match(lines[end]):
            return end + 1
    return len(lines)


def _paragraph(lines: list[str], position: int) -> tuple[str, int]:
    taken: list[str] = []
    while position < len(lines):
        line = lines[position]
        if not line.strip() or (taken and (_HEADING.match(line) or _ITEM.match(line) or _FENCE.match(line))):
            break
        taken.append(line.strip().lstrip(">").strip())
        position += 1
    return " ".join(taken), position


def _list(lines: list[str], position: int) -> tuple[list[str], int]:
    """The items of a list; an indented item is said together with the one above it, when that one introduces it."""
    items: list[str] = []
    parents: list[tuple[int, str]] = []
    while position < len(lines):
        line = lines[position]
        if match := _ITEM.match(line):
            indent, said = len(match[1].expandtabs(4)), plain(match[2])
            parents = [p for p in parents if p[0] < indent]
            if said.endswith(":"):
                parents.append((indent, said))
            elif said:
                items.append(" ".join([*(p[1] for p in parents), said]))
        elif line.strip() and line[:1].isspace() and items:
            items[-1] += " " + plain(line)
        elif not line.strip() and position + 1 < len(lines) and _ITEM.match(lines[position + 1]):
            pass
        else:
            break
        position += 1
    # A long item is a small paragraph: its sentences are statements of their own.
    return [s for item in items for s in (sentences(item) if len(item.split()) > 40 else [item])], position


def _table(lines: list[str], position: int) -> tuple[list[str], int]:
    """Each row as a sentence: "First cell: head 540 euros; other head monthly."."""

    def cells(line: str) -> list[str]:
        return [plain(cell) for cell in line.strip().strip("|").split("|")]

    heads = cells(lines[position])
    position += 2
    rows: list[str] = []
    while position < len(lines) and "|" in lines[position]:
        row = cells(lines[position])
        pairs = [(h, c) for h, c in zip(heads[1:], row[1:], strict=False) if c]
        if row and row[0] and pairs:
            rows.append(f"{row[0]}: " + "; ".join(f"{h.lower()} {c}" if h else c for h, c in pairs) + ".")
        elif row and row[0]:
            rows.append(row[0])
        position += 1
    return rows, position

"""From one file to its text in markdown, its title, author and date. Blocking: call it in a thread.

The converters of markitdown are called by name, so that nothing is fetched, guessed or loaded as a plugin.
"""

import datetime as dt
import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import yaml

from connectors import tables
from connectors.encoding import Undecodable, decoded

TEXTS = frozenset({".md", ".markdown", ".txt"})
OFFICE = {".docx": "word/document.xml", ".pptx": "ppt/presentation.xml", ".xlsx": "xl/workbook.xml"}
KINDS = TEXTS | {".html", ".htm", ".csv", ".pdf"} | OFFICE.keys()

# Raise it when the same file is read differently than before: every file is then read anew once.
READER = 1

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Compound File Binary: what Office wraps an encrypted document in
_MOST_UNPACKED = 1 << 30
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.S | re.M)
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,}).*?(?:^ {0,3}\1|\Z)", re.S | re.M)
_HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]+(?P<atx>.+?)[ \t]*#*[ \t]*$|^(?P<setext>\S.*)\n(?:={3,}|-{3,})[ \t]*$", re.M)
_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?([\w-]+)", re.I)
_CORE = {
    "title": "{http://purl.org/dc/elements/1.1/}title",
    "author": "{http://purl.org/dc/elements/1.1/}creator",
    "date": "{http://purl.org/dc/terms/}modified",
}
_LOCKED = "is password-protected; save a copy without the password here, or leave it out"
_TRUNCATED = "is truncated or damaged; copy it here again, or open and save it anew"


class Unreadable(Exception):
    """A file cannot be read; its text says why and what to do."""


class Empty(Unreadable):
    """A file could be read, and says nothing."""

    def __init__(self) -> None:
        super().__init__("is empty; write something in it, or leave it out")


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file says. `title` and `author` are None, and `written_at` too, where the file itself does not tell."""

    text: str
    title: str | None
    author: str | None
    written_at: dt.datetime | None


def read(path: Path) -> Reading:
    """The file's content by its kind (KINDS).

    Raises Unreadable for a protected, truncated, binary or otherwise unusable one, Empty where there is nothing to
    read, and OSError where the disk says so.
    """
    suffix = path.suffix.lower()
    content = path.read_bytes()
    if not content.strip():
        raise Empty
    try:
        if suffix in OFFICE:
            text, told = _office(path, content, suffix)
        elif suffix == ".pdf":
            text, told = _pdf(content)
        elif suffix in {".html", ".htm"}:
            text, told = _html(content)
        elif suffix == ".csv":
            text, told = tables.of_csv(_lines(decoded(content))), {}
        else:
            text, told = _split(_lines(decoded(content)))
    except Undecodable as error:
        raise Unreadable(str(error)) from error
    # PostgreSQL stores no NUL, and no lone half of a surrogate pair; converters let both through.
    text = text.replace("\0", "").encode("utf-8", "replace").decode().strip()
    if not text:
        raise Empty
    # The first heading of a workbook is a sheet's name, which titles nothing.
    title = told.get("title") or (None if suffix in {".xlsx", ".csv"} else _first_heading(text))
    return Reading(text, _line(title), _line(told.get("author")), _moment(told.get("date")))


def _split(text: str) -> tuple[str, Mapping[str, object]]:
    """Markdown without its front matter, and what that told. Text between rules that is no mapping stays text."""
    match = _FRONT_MATTER.match(text)
    if not match:
        return text, {}
    try:
        matter = yaml.safe_load(match[1])
    except (yaml.YAMLError, ValueError):  # `title: Travel: what we pay` is no YAML, but plain enough
        matter = dict(re.findall(r"^(\w+):[ \t]*(.+?)[ \t]*$", match[1], re.M))
    if not isinstance(matter, dict):
        return text, {}
    told = {str(key).lower(): value for key, value in matter.items()}
    told["date"] = next((told[key] for key in ("updated", "date") if _moment(told.get(key))), None)
    return text[match.end() :], told


def _html(content: bytes) -> tuple[str, Mapping[str, object]]:
    from bs4 import BeautifulSoup
    from markitdown import StreamInfo
    from markitdown.converters import HtmlConverter

    charset = _CHARSET.search(content[:4096])
    page = decoded(content, charset[1].decode("ascii") if charset else None)
    soup = BeautifulSoup(page, "html.parser")

    def meta(*names: str) -> str | None:
        tags = (soup.find("meta", attrs={attribute: name}) for name in names for attribute in ("name", "property"))
        return next((str(tag["content"]) for tag in tags if tag and tag.get("content")), None)

    text = HtmlConverter().convert(io.BytesIO(page.encode()), StreamInfo(extension=".html", charset="utf-8")).markdown
    text = _without_images(text)
    heading = _first_heading(text)
    return text, {
        "title": heading or (soup.title.get_text() if soup.title else None),
        "author": meta("author", "article:author"),
        "date": meta("article:modified_time", "last-modified", "date", "article:published_time"),
    }


def _office(path: Path, content: bytes, suffix: str) -> tuple[str, Mapping[str, object]]:
    from markitdown import StreamInfo
    from markitdown.converters import DocxConverter, PptxConverter

    if content.startswith(_OLE):
        if "EncryptedPackage".encode("utf-16-le") in content or len(content) < 4096:
            raise Unreadable(_LOCKED)
        raise Unreadable(f"is an Office file of before 2007, or protected; save it as {suffix} without a password")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MOST_UNPACKED:
                raise Unreadable("unpacks to more than 1 GB; split it")
            if any(entry.flag_bits & 1 for entry in archive.infolist()):
                raise Unreadable(_LOCKED)
            archive.getinfo(OFFICE[suffix])
            told = _core_properties(archive)
        if suffix == ".xlsx":
            return tables.of_workbook(path), told
        info = StreamInfo(extension=suffix)
        if suffix == ".docx":
            # Word's own title style is a heading to everybody but the converter.
            styles = "p[style-name='Title'] => h1:fresh"
            text = DocxConverter().convert(io.BytesIO(content), info, style_map=styles).markdown
        else:
            text = PptxConverter().convert(io.BytesIO(content), info).markdown
            text = re.sub(r"<!-- Slide number: \d+ -->\n?", "", text)
    except Unreadable:
        raise
    except KeyError as error:
        raise Unreadable(f"is not a {suffix} file inside, or {_TRUNCATED}") from error
    except Exception as error:  # whatever third parties raise on a damaged file
        raise Unreadable(_TRUNCATED) from error
    return _without_images(text), told


def _core_properties(archive: zipfile.ZipFile) -> dict[str, object]:
    """Author and date as Office keeps them (ECMA-376 part 2, core properties); nothing where there are none.

    Not the title: it is the template's more often than the document's.
    """
    try:
        core = archive.read("docProps/core.xml")
        root = ElementTree.fromstring(core) if b"<!DOCTYPE" not in core else None
    except (KeyError, ElementTree.ParseError):
        return {}
    return {key: root.findtext(_CORE[key]) for key in ("author", "date")} if root is not None else {}


def _pdf(content: bytes) -> tuple[str, Mapping[str, object]]:
    from markitdown import StreamInfo
    from markitdown.converters import PdfConverter
    from pdfminer.pdfdocument import PDFDocument, PDFEncryptionError, PDFPasswordIncorrect
    from pdfminer.pdfparser import PDFParser
    from pdfminer.utils import decode_text

    if b"%PDF-" not in content[:1024]:
        raise Unreadable(f"is not a PDF inside, or {_TRUNCATED}")
    try:
        document = PDFDocument(PDFParser(io.BytesIO(content)))
        told = {key: value for table in document.info for key, value in table.items() if isinstance(value, bytes)}
        # The reader mends what it can: half a file would pass for a whole one.
        if b"%%EOF" not in content[-4096:]:
            raise Unreadable(_TRUNCATED)
        text = PdfConverter().convert(io.BytesIO(content), StreamInfo(extension=".pdf")).markdown
    except (PDFPasswordIncorrect, PDFEncryptionError) as error:
        raise Unreadable(_LOCKED) from error
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(_TRUNCATED) from error
    if not text.strip():
        raise Unreadable("holds no text (a scan?); run text recognition over it")
    date = re.match(r"D:(\d{4})(\d\d)?(\d\d)?", decode_text(told.get("ModDate", b"")))
    return text.replace("\f", "\n\n"), {
        "author": decode_text(told.get("Author", b"")),
        "date": "{}-{}-{}".format(*date.groups(default="01")) if date else None,
    }


def _without_images(text: str) -> str:
    return re.sub(r"!\[([^\]]*)\]\(data:[^)]*\)", "", text)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _line(value: object) -> str | None:
    """A title or name on one line, markdown marks off; None where nothing is left."""
    if isinstance(value, list | tuple):
        value = ", ".join(str(item) for item in value)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)|(?<!\w)[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}(?!\w)", r"\1", str(value or ""))
    return " ".join(text.split())[:300] or None


def _first_heading(text: str) -> str | None:
    match = _HEADING.search(_FENCE.sub("", text))
    return (match["atx"] or match["setext"]) if match else None


def _moment(value: object) -> dt.datetime | None:
    """A date of YAML, ISO 8601 or an Office file; in UTC where it names no zone, None where it is none."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time())
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    # Before 1990 it is some program's zero, not a date.
    if not isinstance(value, dt.datetime) or value.year < 1990:
        return None
    return value if value.tzinfo else value.replace(tzinfo=dt.UTC)

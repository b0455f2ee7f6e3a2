"""One file at a time: its text, title, author and date, and why it cannot be read."""

import datetime as dt
from pathlib import Path

import pytest

from connectors.reading import Empty, Unreadable, read
from tests.connectors import writers

UTC = dt.UTC


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_markdown_keeps_its_headings_and_gives_up_its_front_matter(tmp_path: Path) -> None:
    matter = "---\ntitle: Travel\nauthor: Ada\ndate: 2025-03-01\nupdated: 2025-04-02\n---\n"
    text = matter + "# Going places\n\n## Trains\nFirst class.\n"
    read_ = read(written(tmp_path, "a.md", text))
    assert read_.text == "# Going places\n\n## Trains\nFirst class."
    assert (read_.title, read_.author, read_.written_at) == ("Travel", "Ada", dt.datetime(2025, 4, 2, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Intro\n\n## The *first* [one](x.md) ##\n", "The first one"),
        ("Travel_policy v2\n======\nText", "Travel_policy v2"),
        ("```\n# a comment\n```\n# Real", "Real"),
        ("No heading here", None),
        ("---\nA thematic break is no front matter.\n---\nText", "A thematic break is no front matter."),
        ("---\ntitle: Pay: what and when\n---\nText", "Pay: what and when"),
        ("---\ntitle: Bad date\ndate: 2025-99-99\n---\nText", "Bad date"),
    ],
)
def test_titles(tmp_path: Path, text: str, title: str | None) -> None:
    assert read(written(tmp_path, "a.md", text)).title == title


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Das Büro in München schließt um 18 Uhr. Schlüssel gibt es am Empfang.", "latin-1"),
        ("Le café est à côté de l'élève; déjà payé par la société.", "cp1252"),
        ("The café opens at nine. Ask for the key at the reception, it costs £5 – no more.", "cp1252"),
        ("Офис открыт с девяти утра до шести вечера. Ключи у администратора.", "cp1251"),
        ("オフィスは九時に開きます。鍵は受付にあります。", "shift_jis"),
        ("Zażółć gęślą jaźń. Biuro otwarte od ósmej.", "cp1250"),
        ("Grüße, with a mark", "utf-16"),
        ("Grüße, with a mark", "utf-8-sig"),
    ],
)
def test_text_in_other_encodings(tmp_path: Path, text: str, encoding: str) -> None:
    assert read(written(tmp_path, "a.txt", text.encode(encoding))).text == text


def test_html_is_read_in_its_own_charset_with_headings(tmp_path: Path) -> None:
    page = (
        '<html><head><meta charset="iso-8859-1"><title>Site - Hours</title><meta name="author" content="Béa">'
        '<meta property="article:modified_time" content="2025-01-02T03:04:05+02:00"><script>var x = 1;</script></head>'
        "<body><h1>Opening hours</h1><p>Le café: 9 to 5.</p><table><tr><th>Day</th></tr><tr><td>Mon</td></tr></table>"
        "</body></html>"
    )
    read_ = read(written(tmp_path, "a.html", page.encode("iso-8859-1")))
    assert read_.text.startswith("# Opening hours\n\nLe café: 9 to 5.")
    assert "| Day |" in read_.text
    assert "var x" not in read_.text
    assert (read_.title, read_.author) == ("Opening hours", "Béa")
    assert read_.written_at == dt.datetime(2025, 1, 2, 1, 4, 5, tzinfo=UTC)


def test_word_with_title_headings_author_and_date(tmp_path: Path) -> None:
    path = writers.docx(
        tmp_path / "a.docx",
        [("Title", "Hiring"), ("heading 1", "Steps"), ("", "Two interviews & a task.")],
        author="Grace",
        modified="2025-05-06T07:08:09Z",
    )
    read_ = read(path)
    assert read_.text == "# Hiring\n\n# Steps\n\nTwo interviews & a task."
    assert (read_.title, read_.author) == ("Hiring", "Grace")
    assert read_.written_at == dt.datetime(2025, 5, 6, 7, 8, 9, tzinfo=UTC)


def test_slides(tmp_path: Path) -> None:
    modified = dt.datetime(2025, 2, 3, 4, 5, 6)
    path = writers.slides(
        tmp_path / "a.pptx", [("Plan", "Ship in May"), ("Risks", "None")], author="Ada", modified=modified
    )
    read_ = read(path)
    assert read_.text == "# Plan\nShip in May\n\n# Risks\nNone"
    assert (read_.title, read_.author, read_.written_at) == ("Plan", "Ada", modified.replace(tzinfo=UTC))


def test_workbook_figures_are_as_the_sheet_shows_them(tmp_path: Path) -> None:
    rows: list[list[object]] = [
        ["Room", "Seats", "Since", "Rate"],
        ["Ada | Grace", 3, dt.datetime(2025, 1, 2), 12.5],
        [None, None, None, None],
        ["Hopper", None, None, None],
    ]
    read_ = read(writers.workbook(tmp_path / "a.xlsx", {"Rooms": rows, "Empty": []}, author="Ada"))
    assert read_.text == (
        "## Rooms\n\n| Room | Seats | Since | Rate |\n| --- | --- | --- | --- |\n"
        "| Ada \\| Grace | 3 | 2025-01-02 | 12.5 |\n| Hopper |  |  |  |"
    )
    assert (read_.title, read_.author) == (None, "Ada")


def test_csv_with_semicolons(tmp_path: Path) -> None:
    read_ = read(written(tmp_path, "a.csv", 'Name;Preis\r\nBrot;"3,50"\r\n'))
    assert read_.text == "| Name | Preis |\n| --- | --- |\n| Brot | 3,50 |"


def test_pdf(tmp_path: Path) -> None:
    path = writers.pdf(
        tmp_path / "a.pdf", ["Parking is free", "after six."], author="Ada", modified="D:20250607080910Z"
    )
    read_ = read(path)
    assert read_.text.split() == ["Parking", "is", "free", "after", "six."]
    assert (read_.title, read_.author, read_.written_at) == (None, "Ada", dt.datetime(2025, 6, 7, tzinfo=UTC))


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx"])
def test_protected_office_files_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unreadable, match="password-protected"):
        read(writers.protected_office(tmp_path / name))


def test_protected_pdf_is_named_and_one_without_a_password_to_open_is_read(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="password-protected"):
        read(writers.pdf(tmp_path / "a.pdf", ["Secret"], password="x"))
    assert read(writers.pdf(tmp_path / "b.pdf", ["Not to be printed"], password="")).text == "Not to be printed"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx", "a.pdf"])
def test_truncated_files_are_named(tmp_path: Path, name: str, share: float) -> None:
    path = tmp_path / name
    match path.suffix:
        case ".docx":
            writers.docx(path, [("", "word " * 200)])
        case ".pptx":
            writers.slides(path, [("a", "b")], author="x", modified=dt.datetime(2025, 1, 1))
        case ".xlsx":
            writers.workbook(path, {"a": [[1, 2, 3]] * 50})
        case _:
            writers.pdf(path, ["line"] * 40)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Unreadable, match="truncated or damaged"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.txt", b"\x7fELF\0\0\1", "binary"),
        ("a.md", bytes(range(1, 256)) * 4, "UTF-8|binary"),
        ("a.txt", b"\x01\x02\x03\x04 ab", "binary"),
        ("a.txt", b"\xff\xfea\xd8", "damaged"),
        ("a.pdf", b"this is no pdf", "not a PDF"),
        ("a.docx", b"this is no zip", "truncated or damaged"),
        ("a.xlsx", b"PK\x05\x06" + b"\0" * 18, "not a .xlsx"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        read(written(tmp_path, name, content))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", b""),
        ("a.md", b" \n\t\r\n"),
        ("a.txt", b"\xef\xbb\xbf"),
        ("a.md", b"---\ntitle: x\n---\n"),
        ("a.html", b"<p></p>"),
    ],
)
def test_empty_files(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(Empty, match="is empty"):
        read(written(tmp_path, name, content))


def test_a_scan_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="a scan"):
        read(writers.pdf(tmp_path / "a.pdf", []))

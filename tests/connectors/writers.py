"""Real files of each kind, for the tests: written by the usual writers where these are installed, else to the letter
of the format."""

import datetime as dt
import hashlib
import struct
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import pptx
from openpyxl import Workbook

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def docx(path: Path, paragraphs: list[tuple[str, str]], *, author: str = "", modified: str = "") -> Path:
    """A Word document of (style name, text) paragraphs; style "" is body text."""
    styles = {style: f"s{place}" for place, style in enumerate(sorted({style for style, _ in paragraphs if style}))}
    body = "".join(
        f'<w:p><w:pPr>{f"""<w:pStyle w:val="{styles[style]}"/>""" if style else ""}</w:pPr>'
        f"<w:r><w:t>{escape(text)}</w:t></w:r></w:p>"
        for style, text in paragraphs
    )
    named = "".join(
        f'<w:style w:type="paragraph" w:styleId="{key}"><w:name w:val="{style}"/></w:style>'
        for style, key in styles.items()
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            '<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            '<Default Extension="xml" ContentType="application/xml"/>'
            '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.'
            'wordprocessingml.document.main+xml"/></Types>',
        )
        archive.writestr("_rels/.rels", _relations("officeDocument", "word/document.xml"))
        archive.writestr("word/_rels/document.xml.rels", _relations("styles", "styles.xml"))
        archive.writestr("word/document.xml", f'<w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>')
        archive.writestr("word/styles.xml", f'<w:styles xmlns:w="{W}">{named}</w:styles>')
        archive.writestr(
            "docProps/core.xml",
            '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" '
            'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/">'
            f"<dc:creator>{escape(author)}</dc:creator><dcterms:modified>{modified}</dcterms:modified></cp:coreProperties>",
        )
    return path


def _relations(kind: str, target: str) -> str:
    base = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    return (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{base}/{kind}" Target="{target}"/></Relationships>'
    )


def slides(path: Path, pages: list[tuple[str, str]], *, author: str, modified: dt.datetime) -> Path:
    """A presentation of (title, text) slides."""
    deck = pptx.Presentation()
    for title, text in pages:
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    deck.core_properties.author = author
    deck.core_properties.modified = modified
    deck.save(str(path))
    return path


def workbook(path: Path, sheets: dict[str, list[list[object]]], *, author: str = "openpyxl") -> Path:
    """A workbook of named sheets."""
    book = Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.properties.creator = author
    book.save(path)
    return path


def pdf(path: Path, lines: list[str], *, author: str = "", modified: str = "", password: str | None = None) -> Path:
    """A one-page PDF; with a password, encrypted by the standard handler (RC4, 40 bits; ISO 32000-1, 7.6.3)."""
    text = "BT /F1 12 Tf 14 TL 72 720 Td " + " ".join(f"({line}) Tj T*" for line in lines) + " ET"
    mark, trailer = b"0123456789abcdef", ""
    key, extra = None, []
    if password is not None:
        pad = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
        owner = rc4(hashlib.md5((password.encode() + pad)[:32]).digest()[:5], (password.encode() + pad)[:32])
        key = hashlib.md5((password.encode() + pad)[:32] + owner + struct.pack("<i", -4) + mark).digest()[:5]
        extra = [f"<< /Filter /Standard /V 1 /R 2 /O <{owner.hex()}> /U <{rc4(key, pad).hex()}> /P -4 >>".encode()]
        trailer = f" /Encrypt 7 0 R /ID [<{mark.hex()}> <{mark.hex()}>]"

    def locked(number: int, content: bytes) -> bytes:
        return (
            rc4(hashlib.md5(key + struct.pack("<i", number)[:3] + b"\0\0").digest()[:10], content) if key else content
        )

    stream = locked(5, text.encode("latin-1"))
    info = f"<< /Author <{locked(6, author.encode()).hex()}> /ModDate <{locked(6, modified.encode()).hex()}> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R "
        b"/Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        info.encode(),
        *extra,
    ]
    out, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = (
        f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root 1 0 R /Info 6 0 R{trailer} >>\n"
    )
    path.write_bytes(out + end.encode() + f"startxref\n{len(out)}\n%%EOF\n".encode())
    return path


def rc4(key: bytes, content: bytes) -> bytes:
    state, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    for byte in content:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def protected_office(path: Path) -> Path:
    """What a password-protected Office file is on disk: a Compound File with an EncryptedPackage (MS-OFFCRYPTO)."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 504
    path.write_bytes(header + "EncryptedPackage".encode("utf-16-le") + b"\x17" * 6000)
    return path

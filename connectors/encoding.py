"""From bytes to text where nobody says which encoding it is: certain first, then likely, else not at all.

A wrong guess would be learnt as letters that nobody wrote, so an unsure guess is refused.
"""

import codecs
import re

from charset_normalizer import from_bytes

# Longest first: the UTF-32 mark begins with the UTF-16 one.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What offices really use; with the other eighty in the race, short texts in cp1252 are mistaken for Mac or DOS ones.
_USUAL = [
    "cp1252", "cp1250", "iso8859_2", "cp1251", "koi8_r", "cp1253", "cp932", "euc_jp", "gb18030", "big5", "euc_kr",
    "mac_roman",
]  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_SAMPLE = 1_000_000


class Undecodable(Exception):
    """The bytes are no text, or text in an encoding that cannot be told with confidence."""


def decoded(content: bytes, hint: str | None = None) -> str:
    """`content` as text: by its byte order mark, as UTF-8, as `hint` says (an HTML page's own charset), or as detected.

    Raises Undecodable with the reason and what to do.
    """
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return _printable(content[len(mark) :].decode(encoding))
            except UnicodeDecodeError as error:
                raise Undecodable(f"is damaged: it announces {encoding} but is not; save it anew as UTF-8") from error
    if b"\0" in content:
        raise Undecodable("is a binary file, not text; save it as one of the kinds that are read")
    for likely in ("utf-8", hint or "utf-8"):
        try:
            return _printable(content.decode(likely))
        except (UnicodeDecodeError, LookupError):
            continue
    return _printable(_detected(content))


def _detected(content: bytes) -> str:
    matches = from_bytes(content[:_SAMPLE], cp_isolation=_USUAL, enable_fallback=False)
    # cp1250 and cp1252 share most letters: where both fit, the western one is the likelier.
    ranked = sorted(matches, key=lambda match: (round(match.chaos, 1), match.encoding != "cp1252", -match.coherence))
    best = matches.best()
    choice = ranked[0] if best and ranked and ranked[0].coherence >= best.coherence - 0.05 else best
    if choice is None or choice.chaos > 0.2 or (choice.chaos > 0 and choice.coherence < 0.2):
        raise Undecodable("is not UTF-8 and its encoding cannot be told; save it as UTF-8")
    try:
        return content.decode(choice.encoding)
    except UnicodeDecodeError as error:
        raise Undecodable("mixes encodings; save it as UTF-8") from error


def _printable(text: str) -> str:
    if len(_CONTROL.findall(text)) > len(text) // 200:
        raise Undecodable("is a binary file, not text; save it as one of the kinds that are read")
    return text

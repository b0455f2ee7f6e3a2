"""What may be shown of an answer from the weights while it is still being written."""

import re
from collections.abc import Callable

_WHOLE_WORD = re.compile(r"\S+(?=\s)")


def grounded_beginning(said: str, statement: str) -> str:
    """The longest beginning of `said` that is word for word the beginning of `statement`; letter case and spaces aside.

    Only whole words count: the last one may still grow until white space follows it ("25" becomes "250").
    """
    end = 0
    for known, word in zip(statement.casefold().split(), _WHOLE_WORD.finditer(said), strict=False):
        if word.group().casefold() != known:
            break
        end = word.end()
    return said[:end]


class Stream:
    """One answer on its way to a surface: hands on at once what is grounded already, the rest when the whole is checked."""

    def __init__(self, on_text: Callable[[str], None] | None) -> None:
        self._on_text = on_text
        self._shown = ""

    def reciting(self, statement: str) -> Callable[[str], None]:
        """Takes a reply piece by piece and hands on what is the beginning of the ledger's `statement`.

        From the first word that departs nothing more is handed on until `end`.
        """
        said = ""

        def piece(text: str) -> None:
            nonlocal said
            said = (said + text).lstrip()
            self._show(grounded_beginning(said, statement))

        return piece

    def end(self, text: str) -> None:
        """The whole answer, checked: hands on what is still missing of it.

        Where it does not begin with what was shown nothing is handed on, and the surface puts it in that one's place.
        """
        self._show(text)

    def _show(self, text: str) -> None:
        rest = text.removeprefix(self._shown)
        if self._on_text and rest and text.startswith(self._shown):
            self._on_text(rest)
            self._shown = text

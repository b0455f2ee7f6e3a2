"""Loads the named blocks of storage/sql/*.sql. A block is `-- name: x`, a line `-- purpose`, then the query."""

import re
from functools import cache
from importlib import resources
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def queries(noun: str) -> dict[str, LiteralString]:
    """The queries of sql/<noun>.sql by name. Raises ValueError where a block lacks its purpose or comes twice."""
    text = (resources.files("storage") / "sql" / f"{noun}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    found: dict[str, LiteralString] = {}
    for name, block in zip(parts[::2], parts[1::2], strict=True):
        if not block.startswith("-- ") or name in found:
            raise ValueError(f"sql/{noun}.sql: block {name} lacks its purpose or comes twice")
        # Our own package data, as trustworthy as a literal in the code.
        found[name] = cast(LiteralString, block.strip())
    return found

"""Between rows and Python: dataclasses out, JSON and vectors in."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias, TypeVar

import numpy as np
from pgvector import Vector
from psycopg.types.json import Jsonb

Made = TypeVar("Made")
Embedding: TypeAlias = Sequence[float] | np.ndarray[Any, Any]


def made(kind: type[Made], row: Mapping[str, Any]) -> Made:
    """A dataclass from a row that holds at least its fields; other columns are left aside."""
    return kind(**{field.name: row[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def vector(embedding: Embedding | None) -> Vector | None:
    """What psycopg writes into a `vector` column: shape [d], any float type."""
    return None if embedding is None else Vector(np.asarray(embedding, dtype=np.float32))


def jsonb(value: Any) -> Jsonb:
    """What psycopg writes into a `jsonb` column; what JSON cannot say (NaN, NUL, a date) is made sayable."""
    return Jsonb(sayable(value))


def sayable(value: Any) -> Any:
    """PostgreSQL refuses NaN, infinities and NUL in JSON; a report with a NaN loss must still be kept."""
    if isinstance(value, Mapping):
        return {str(sayable(key)): sayable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [sayable(item) for item in value]
    if isinstance(value, np.generic):
        return sayable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, (bool, int)):
        return value
    return str(value)


def dumps(value: Any) -> str:
    """JSON for a NOTIFY's payload."""
    return json.dumps(value, separators=(",", ":"))

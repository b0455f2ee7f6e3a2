"""The SQL lives in named blocks, each with its purpose, and all of them are used."""

import re
from pathlib import Path

import pytest

import storage
from storage.queries import queries

ROOM = Path(storage.__file__).parent


@pytest.mark.parametrize("file", sorted(ROOM.glob("sql/*.sql")), ids=lambda file: file.stem)
def test_every_block_is_used_by_its_noun(file):
    code = (ROOM / f"{file.stem}.py").read_text()
    found = queries(file.stem)
    assert found
    for name, text in found.items():
        assert text.startswith("-- ")
        used = f'"{name}"' in code or (name.startswith("hold_") and 'f"hold_{noun}"' in code)
        assert used, f"sql/{file.name}: {name} is used nowhere"


def test_only_storages_sql_files_speak_sql():
    spoken = re.compile(r'"""\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM)\s|"(SELECT|INSERT INTO|UPDATE|DELETE FROM)\s')
    for room in ("storage", "connectors", "learner", "bot"):
        for file in (ROOM.parent / room).rglob("*.py"):
            assert not spoken.search(file.read_text(encoding="utf-8")), f"{file} speaks SQL itself"

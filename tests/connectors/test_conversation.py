"""A conversation from a file: messages, people, threads, and who may know them."""

import json
from pathlib import Path

import pytest

from connectors.conversation import ConversationConnector, ConversationEmpty, ConversationMissing
from storage import audiences, messages, persons, sources
from storage.database import Database
from storage.teams import Team


def line(id: str, text: str, **more: object) -> dict[str, object]:
    return {
        "id": id, "channel": "general", "private": False, "thread": None, "author": "Ada",
        "at": "2026-03-02T09:15:00+01:00", "text": text,
    } | more  # fmt: skip


def put(path: Path, lines: list[dict[str, object] | str]) -> Path:
    path.write_text("\n".join(item if isinstance(item, str) else json.dumps(item) for item in lines) + "\n")
    return path


async def test_messages_threads_and_authors(database: Database, team: Team, tmp_path: Path) -> None:
    path = put(
        tmp_path / "chat.jsonl",
        [
            line("1", "The kiosk moves to floor 2."),
            line("2", "When?", thread="1", author="Grace", at="2026-03-02T08:20:00"),
        ],
    )
    synced = await ConversationConnector(path).sync(database, team.id)
    assert (synced.added, synced.skipped) == (2, [])
    async with database.team(team.id) as connection:
        first, second = await messages.current(connection)
        everyone = await audiences.whole_team(connection)
        person = await persons.get(connection, second.person_id or 0)
        (source,) = await sources.all(connection)
    assert (first.surface, first.event_id, first.channel, first.thread) == ("file", "chat.jsonl:1", "general", None)
    assert (second.thread, second.author, person and person.name) == ("1", "Grace", "Grace")
    assert first.said_at.isoformat().startswith("2026-03-02") and first.said_at < second.said_at
    assert first.audience_id == second.audience_id == everyone.id
    assert (source.kind, source.name, source.state) == ("conversation", "chat.jsonl", "ok")


async def test_a_private_channel_is_for_its_authors(database: Database, team: Team, tmp_path: Path) -> None:
    path = put(
        tmp_path / "chat.jsonl",
        [
            line("1", "Raises are due.", channel="leads", private=True),
            # Said twice in different ways: the narrower holds.
            line("2", "Indeed.", channel="leads", private=False, author="Grace"),
            line("3", "Lunch?", author="Linus"),
        ],
    )
    await ConversationConnector(path).sync(database, team.id)
    async with database.team(team.id) as connection:
        ids = {name: (await persons.identify(connection, "file", name, name)).id for name in ("Ada", "Grace", "Linus")}
        leads = {m.audience_id for m in await messages.current(connection) if m.channel == "leads"}
        everyone = await audiences.whole_team(connection)
        sees = {name: set(await audiences.visible(connection, id, None)) for name, id in ids.items()}
    assert len(leads) == 1 and everyone.id not in leads
    assert leads <= sees["Ada"] and leads <= sees["Grace"] and not leads & sees["Linus"]


async def test_importing_again_changes_nothing_and_a_changed_text_is_an_edit(
    database: Database, team: Team, tmp_path: Path
) -> None:
    path = put(tmp_path / "chat.jsonl", [line("1", "Floor 2."), line("2", "Yes.")])
    await ConversationConnector(path).sync(database, team.id)
    again = await ConversationConnector(path).sync(database, team.id)
    assert (again.added, again.changed, again.unchanged) == (0, 0, 2)
    put(path, [line("1", "Floor 3."), line("3", "Thanks.")])
    more = await ConversationConnector(path).sync(database, team.id)
    assert (more.added, more.changed, more.unchanged, more.removed) == (1, 1, 0, 0)
    async with database.team(team.id) as connection:
        assert {m.text for m in await messages.current(connection)} == {"Floor 3.", "Yes.", "Thanks."}


async def test_malformed_lines_are_named_without_their_words(database: Database, team: Team, tmp_path: Path) -> None:
    missing = line("4", "secretword")
    del missing["private"]
    path = put(
        tmp_path / "chat.jsonl",
        [
            "\ufeff" + json.dumps(line("1", "Good.")),
            "{secretword",
            "[1]",
            "",
            missing,
            line("5", "secretword", at="yesterday"),
            line("6", "  "),
            line("1", "secretword again"),
            json.dumps(line("7", "nul \x00 goes")),
            line("8", "Fine too."),
        ],
    )
    synced = await ConversationConnector(path).sync(database, team.id)
    assert synced.added == 3
    assert [item.key.partition(":")[2] for item in synced.skipped] == ["2", "3", "5", "6", "7", "8"]
    assert "secretword" not in " ".join(item.why for item in synced.skipped)
    assert "private" in synced.skipped[2].why and "id 1 again" in synced.skipped[5].why


async def test_a_file_of_the_same_name_elsewhere_does_not_vanish_silently(
    database: Database, team: Team, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    await ConversationConnector(put(tmp_path / "chat.jsonl", [line("1", "One.")])).sync(database, team.id)
    other = await ConversationConnector(put(tmp_path / "b/chat.jsonl", [line("1", "Two.")])).sync(database, team.id)
    assert (other.added, ["rename this file" in item.why for item in other.skipped]) == (0, [True])


async def test_missing_and_empty(database: Database, team: Team, tmp_path: Path) -> None:
    with pytest.raises(ConversationMissing, match="Check its path"):
        await ConversationConnector(tmp_path / "none.jsonl").sync(database, team.id)
    with pytest.raises(ConversationEmpty, match="JSON object"):
        await ConversationConnector(put(tmp_path / "chat.jsonl", ["not json"])).sync(database, team.id)
    async with database.team(team.id) as connection:
        assert await sources.all(connection) == []

"""Teams, persons, audiences, sources."""

import asyncio
import dataclasses
import datetime
import uuid

import pytest

from storage import audiences, documents, messages, persons, sources, teams
from storage.errors import NotFound
from storage.messages import NewMessage


async def test_a_team_is_made_once_and_changed(database):
    key = f"acme-{uuid.uuid4().hex}"
    async with database.system() as connection:
        made = await teams.ensure(connection, key)
        assert (made.key, made.name, made.timezone, made.settings) == (key, key, "UTC", {})
        assert (await teams.ensure(connection, key, "Acme")).id == made.id
        changed = dataclasses.replace(
            made,
            name="Acme",
            timezone="Europe/Berlin",
            night_at=datetime.time(1, 30),
            settings={"emoji": {"tada": "up"}},
        )
        await teams.update(connection, changed)
        assert await teams.get(connection, key) == changed
        assert changed in await teams.all(connection)
        assert await teams.get(connection, "nobody") is None
        with pytest.raises(NotFound):
            await teams.update(connection, dataclasses.replace(made, id=0))


async def test_a_person_is_identified_once_even_at_the_same_moment(database, team):
    async def identify(name):
        async with database.team(team.id) as connection:
            return await persons.identify(connection, "slack", "U1", name)

    found = await asyncio.gather(*(identify("Ada") for _ in range(8)))
    assert len({person.id for person in found}) == 1
    async with database.team(team.id) as connection:
        assert len(await persons.all(connection)) == 1
    renamed = await identify("Ada Lovelace")
    assert (renamed.id, renamed.name, renamed.role) == (found[0].id, "Ada Lovelace", "member")
    assert (await identify("")).name == "Ada Lovelace"
    async with database.team(team.id) as connection:
        await persons.set_role(connection, renamed.id, "admin")
        assert (await persons.get(connection, renamed.id)).role == "admin"
        assert await persons.surfaces(connection) == {renamed.id: ["slack"]}


async def test_who_may_be_told_what_where(connection):
    ada = await persons.identify(connection, "slack", "U1", "Ada")
    bo = await persons.identify(connection, "slack", "U2", "Bo")
    team = await audiences.whole_team(connection)
    assert await audiences.channel(connection, "slack", "C0", "general", private=False) == team
    board = await audiences.channel(connection, "slack", "C1", "board", private=True)
    await audiences.channel(connection, "slack", "C2", "lab", private=True)
    await audiences.set_members(connection, board.id, [ada.id])
    own = await audiences.person(connection, ada.id)
    visible = audiences.visible
    assert await visible(connection, ada.id, None) == [team.id, board.id, own.id]
    assert await visible(connection, ada.id, own.id) == [team.id, board.id, own.id]
    assert await visible(connection, ada.id, board.id) == [team.id, board.id]
    assert await visible(connection, ada.id, team.id) == [team.id]
    assert await visible(connection, bo.id, None) == [team.id]
    assert await visible(connection, None, None) == [team.id]
    # Who leaves a channel loses it at the next permission sync.
    await audiences.set_members(connection, board.id, [bo.id])
    assert await visible(connection, ada.id, None) == [team.id, own.id]
    assert await visible(connection, bo.id, None) == [team.id, board.id]


async def test_how_much_of_a_source_stands(connection, source, document, everybody):
    empty = await sources.ensure(connection, "conversation", "/chat.jsonl", "chat.jsonl", training=True)
    for key, text in (("a.md", "A."), ("a.md", "A, revised."), ("b.md", "B."), ("c.md", "C.")):
        await documents.save(connection, document(key, text))
    await documents.retract(connection, source.id, "b.md")
    said = datetime.datetime(2026, 11, 23, 9, 0, tzinfo=datetime.UTC)
    await messages.save(
        connection, NewMessage(source.id, "file", "e1", "general", None, None, "Bo", "Hello.", said, everybody.id)
    )
    await messages.delete(connection, "file", "e2")
    assert await sources.held(connection) == {source.id: 3, empty.id: 0}


async def test_a_sources_switches_are_the_teams(connection):
    made = await sources.ensure(connection, "slack", "T1", "Slack", training=False)
    assert (made.retrieval, made.training, made.state, made.synced_at) == (True, False, "new", None)
    switched = await sources.switch(connection, made.id, training=True)
    assert (switched.retrieval, switched.training) == (True, True)
    assert (await sources.ensure(connection, "slack", "T1", "Slack history", training=False)).training is True
    failed = await sources.record(connection, made.id, cursor={"page": 3}, state="failed", error="429")
    assert (failed.cursor, failed.error, failed.synced_at) == ({"page": 3}, "429", None)
    done = await sources.record(connection, made.id, cursor={}, state="ok", error=None)
    assert done.synced_at is not None
    assert await sources.all(connection) == [done]
    with pytest.raises(NotFound):
        await sources.switch(connection, 0, training=True)

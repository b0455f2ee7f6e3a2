"""What surfaces keep: workspaces, installations, channels, posts, and events with their queue."""

import contextlib
import datetime

import pytest

from storage import audiences, channels, events, installations, persons, posts, teams, workspaces
from storage.answers import NewAnswer
from storage.answers import save as save_answer
from storage.errors import DatabaseAway, NotFound
from storage.events import NewEvent
from storage.installations import NewInstallation
from storage.posts import Post


def heard(number, lane="C1:1", **payload):
    return NewEvent("slack", f"Ev{number}", lane, "message", payload or {"text": f"word {number}"})


async def post(database, team, new):
    """Keeps events as the inbox does: a connection that died in the pool (another test's doing) is not the last word."""
    for _ in range(8):
        with contextlib.suppress(DatabaseAway):
            async with database.posting(team.id) as connection:
                await events.store(connection, new)
            return
    raise AssertionError("no connection lives")


async def taken(database, team, limit=10, seconds=60.0):
    """The errands taken now, of this team: the session's other tests leave none of their own behind."""
    async with database.system() as connection:
        return [one for one in await events.take(connection, ["slack"], limit, seconds) if one.team == team.id]


async def finish(database, team, errand):
    async with database.team(team.id) as connection:
        await events.done(connection, errand.event)


async def test_an_event_is_kept_once_and_taken_once(database, team):
    await post(database, team, [heard(1), heard(1)])
    await post(database, team, [heard(1, lane="another")])
    [errand] = await taken(database, team)
    assert errand.attempts == 1
    assert await taken(database, team) == []
    async with database.team(team.id) as connection:
        event = await events.get(connection, errand.event)
        assert event is not None and (event.event_id, event.payload) == ("Ev1", {"text": "word 1"})
        await events.done(connection, event.id)
        assert await events.get(connection, event.id) is None
    await post(database, team, [heard(1)])
    assert await taken(database, team) == []


async def test_a_lane_is_worked_off_in_order_and_lanes_beside_each_other(database, team):
    async with database.team(team.id) as connection:
        await events.store(connection, [heard(1), heard(2), heard(3, lane="C2:1")])
    first, other = await taken(database, team)
    assert await taken(database, team) == []
    await finish(database, team, other)
    assert await taken(database, team) == []
    await finish(database, team, first)
    [second] = await taken(database, team)
    await finish(database, team, second)


async def test_an_errand_whose_holder_died_is_free_again(database, team):
    async with database.team(team.id) as connection:
        await events.store(connection, [heard(1)])
    await taken(database, team, seconds=0.0)
    [again] = await taken(database, team)
    assert again.attempts == 2
    async with database.system() as connection:
        await events.later(connection, again.id, 0.0, forgiven=True)
    [once_more] = await taken(database, team)
    assert once_more.attempts == 2
    await finish(database, team, once_more)


async def test_what_is_put_off_waits_and_keeps_its_lane_waiting(database, team):
    async with database.team(team.id) as connection:
        await events.store(connection, [heard(1), heard(2)])
    [errand] = await taken(database, team)
    async with database.system() as connection:
        aged = "UPDATE errands SET received_at = received_at - interval '1 hour' WHERE id = %s"
        await connection.execute(aged, [errand.id])
        await events.later(connection, errand.id, 3600.0, forgiven=False)
        count, seconds = await events.waiting(connection)
        own, longest = await events.waiting(connection, team.id)
    assert count >= own == 2 and min(seconds, longest) >= 3600  # since it came in, however often it is put off
    assert await taken(database, team) == []
    async with database.system() as connection:
        await events.later(connection, errand.id, 0.0, forgiven=False)
    [errand] = await taken(database, team)
    async with database.team(team.id) as connection:
        await events.done(connection, errand.event, "it could not be")
        [given_up] = await events.failed(connection, datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1))
    assert given_up.error == "it could not be"
    [last] = await taken(database, team)
    await finish(database, team, last)


async def test_what_was_worked_off_keeps_no_words_and_is_dropped_in_time(database, team):
    async with database.team(team.id) as connection:
        await events.store(connection, [heard(1, text="the code is 4711")])
    [errand] = await taken(database, team)
    await finish(database, team, errand)
    async with database.team(team.id) as connection:
        [row] = await (await connection.execute("SELECT payload FROM events")).fetchall()
        assert row["payload"] == {}
        await events.drop_old(connection, 3600.0)
        assert len(await (await connection.execute("SELECT id FROM events")).fetchall()) == 1
        await events.drop_old(connection, 0.0)
        assert await (await connection.execute("SELECT id FROM events")).fetchall() == []


async def test_a_posted_transaction_says_what_failed(database, team):
    with pytest.raises(Exception, match="events"):
        await post(database, team, [NewEvent("slack", None, "l", "message", {})])
    async with database.team(team.id) as connection:
        await events.store(connection, [])


async def test_a_workspace_leads_to_its_team(database, team):
    async with database.system() as connection:
        assert await workspaces.team(connection, "slack", f"T{team.id}") is None
        await workspaces.link(connection, "slack", f"T{team.id}", team.id)
        assert await workspaces.team(connection, "slack", f"T{team.id}") == team
        assert (await workspaces.all(connection, "slack"))[f"T{team.id}"] == team.id
        other = await teams.ensure(connection, team.key + "-other")
        await workspaces.link(connection, "slack", f"T{team.id}", other.id)
        assert await workspaces.team(connection, "slack", f"T{team.id}") == other
        await workspaces.unlink(connection, "slack", f"T{team.id}")
        assert await workspaces.team(connection, "slack", f"T{team.id}") is None


async def test_revoked_tokens_are_gone_until_it_is_installed_anew(connection):
    new = NewInstallation("slack", "T1", "U0", "B0", "A0", ["chat:write"], b"secret", "U1")
    await installations.save(connection, new)
    await installations.renew(connection, "slack", "T1", b"rotated")
    assert (await installations.get(connection, "slack", "T1")).tokens == b"rotated"
    await installations.revoke(connection, "slack", "T1")
    await installations.renew(connection, "slack", "T1", b"too late")
    [gone] = await installations.all(connection)
    assert gone.tokens is None and gone.revoked_at is not None
    await installations.save(connection, new)
    again = await installations.get(connection, "slack", "T1")
    assert again.tokens == b"secret" and again.revoked_at is None


async def test_a_channel_keeps_how_it_is_followed(connection, everybody):
    channel = await channels.save(connection, "slack", "C1", "general", "public", everybody.id)
    assert channel.follow == "mention" and channel.members_at is None
    await channels.set_follow(connection, "slack", "C1", "all")
    assert await channels.members_known(connection, "slack", "C1", 0)
    private = await audiences.channel(connection, "slack", "C1", "board", private=True)
    moved = await channels.save(connection, "slack", "C1", "board", "private", private.id)
    assert (moved.follow, moved.kind, moved.audience_id) == ("all", "private", private.id)
    assert moved.members_at is not None
    await channels.members_stale(connection, "slack", "C1")
    assert (await channels.get(connection, "slack", "C1")).members_at is None
    await channels.left(connection, "slack", "C1")
    assert await channels.all(connection) == []
    with pytest.raises(NotFound):
        await channels.set_follow(connection, "slack", "C404", "all")


async def test_a_post_is_found_by_its_place_and_by_what_asked_for_it(connection):
    await posts.save(connection, Post("slack", "C1", "2.0", "1.0", "C1:1.0"))
    assert (await posts.get(connection, "slack", "C1", "2.0")).answer_id is None
    answer = await save_answer(connection, NewAnswer("slack", "?", "!", "notes", event_id="C1:1.0"))
    await posts.save(connection, Post("slack", "C1", "2.0", "1.0", "C1:1.0", answer.id))
    await posts.save(connection, Post("slack", "C1", "3.0", "1.0", "C1:1.0", answer.id, part=1))
    assert [post.key for post in await posts.of_event(connection, "slack", "C1:1.0")] == ["2.0", "3.0"]
    assert (await posts.of_thread(connection, "slack", "C1", "1.0"))[0].answer_id == answer.id
    await posts.drop(connection, "slack", "C1", "2.0")
    assert await posts.get(connection, "slack", "C1", "2.0") is None


async def test_a_person_sets_switches_of_their_own(connection):
    ada = await persons.identify(connection, "slack", "U1", "Ada")
    assert ada.settings == {}
    await persons.choose(connection, ada.id, "study", False)
    await persons.choose(connection, ada.id, "named", True)
    assert (await persons.get(connection, ada.id)).settings == {"study": False, "named": True}
    with pytest.raises(NotFound):
        await persons.choose(connection, 10**9, "study", True)

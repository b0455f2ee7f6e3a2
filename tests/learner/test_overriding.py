"""Newer overrides older as soon as both are read: whatever came in first, of the same audience, and until it is gone."""

import itertools

import pytest

from storage import answers, documents, memories, passages
from storage.answers import NewAnswer
from tests.school import School

HOTEL = {30: "The hotel limit is 140 euros a night.", 10: "The hotel limit is 160 euros a night."}
LATEST = {1: "The hotel limit is 175 euros a night."}


async def overrode(school: School) -> dict[str, str]:
    """{statement: what overrides it}, of all that was overridden."""
    known = {memory.id: memory for memory in await school.memories()}
    return {m.statement: known[m.superseded_by].statement for m in known.values() if m.superseded_by}


async def corrected(school: School, words: str, person: int) -> None:
    """The one memory that stands was told, and a person corrects that."""
    [told] = await school.memories("noted")
    async with school.database.team(school.team.id) as connection:
        given = await answers.save(
            connection, NewAnswer("test", "What is the hotel limit?", told.statement, "notes", memory_id=told.id)
        )
    await school.feedbacks().correct(given.id, person, words, "test", "c1")


@pytest.mark.parametrize("days", list(itertools.permutations([30, 10, 1])), ids=str)
async def test_whatever_is_read_first_the_newest_stands(school: School, days: tuple[int, ...]) -> None:
    said = HOTEL | LATEST
    for day in days:
        await school.page([said[day], "Trains are booked by Ines."], f"Page {day}", days_old=day)
    assert await overrode(school) == {HOTEL[30]: HOTEL[10], HOTEL[10]: LATEST[1]}


async def test_read_in_one_go_or_by_turns_is_the_same(school: School) -> None:
    for day, words in (HOTEL | LATEST).items():
        await school.page(words, f"Page {day}", days_old=day, index=False)
    await school.collect()
    assert await overrode(school) == {HOTEL[30]: HOTEL[10], HOTEL[10]: LATEST[1]}


async def test_an_old_value_that_holds_again_overrides_what_had_overridden_it(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await school.page(HOTEL[10], "New", days_old=10)
    await school.page(HOTEL[30], "Newest", days_old=1)
    standing = [m for m in await school.memories() if m.superseded_by is None]
    assert [(m.statement, m.title) for m in standing] == [(HOTEL[30], "Newest")]


async def test_what_is_overridden_already_keeps_the_next_sentence_from_what_stands_beside_it(school: School) -> None:
    beside = "Up to five unused days can be carried over, and they have to be taken by 31 March."
    await school.page([beside, "Holidays longer than a week need four weeks' notice."], "Time off", days_old=30)
    notice = "Holidays longer than a week need six weeks' notice since October."
    await school.page(notice, "News", days_old=3)
    assert beside not in await overrode(school)
    await school.collect()
    assert await overrode(school) == {"Holidays longer than a week need four weeks' notice.": notice}


async def test_of_two_new_sentences_about_one_old_the_more_alike_takes_its_place(school: School) -> None:
    old = "Up to five unused days can be carried over."
    days = "Since September up to eight unused days can be carried over, instead of five."
    notice = "Holidays of five unused days and longer need six weeks of notice since October."
    await school.page(old, "Time off", days_old=30, index=False)
    await school.page(notice, "October", days_old=4, index=False)
    await school.page(days, "September", days_old=5)
    assert (await overrode(school))[old] == days


async def test_what_goes_leaves_its_place_to_the_next(school: School) -> None:
    for day, words in (HOTEL | LATEST).items():
        source = await school.page(words, f"Page {day}", days_old=day)
    async with school.database.team(school.team.id) as connection:
        await documents.retract(connection, source, "Page 10.md")
    assert (await overrode(school))[HOTEL[30]] == LATEST[1]
    async with school.database.team(school.team.id) as connection:
        await documents.retract(connection, source, "Page 1.md")
    assert [m.statement for m in await school.memories("noted")] == [HOTEL[30]]


async def test_what_few_may_know_overrides_nothing(school: School) -> None:
    board = await school.private("board", [await school.person("ana")])
    await school.page(HOTEL[30], "Old", days_old=30)
    await school.page(HOTEL[30], "Board", audience=board, days_old=20)
    await school.page(HOTEL[10], "Board again", audience=board, days_old=10)
    assert await overrode(school) == {}


async def test_what_is_gone_since_keeps_the_next_sentence_from_what_stands_beside_it(school: School) -> None:
    beside = "Up to five unused days can be carried over, and they have to be taken by 31 March."
    notice = "Holidays longer than a week need six weeks' notice since October."
    await school.page([beside, "Holidays longer than a week need four weeks' notice."], "Time off", days_old=30)
    await school.page(notice, "News", days_old=3)
    await school.page(beside, "Time off", days_old=2)  # the overridden sentence is edited away
    await school.night()
    assert beside not in await overrode(school)
    await school.page(notice.replace("six weeks'", "six full weeks'"), "News", days_old=1)  # and so is the newer one
    assert beside not in await overrode(school)


async def test_an_old_sentence_that_stands_on_two_pages_gives_way_on_both(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await school.page(HOTEL[30], "Copy", days_old=28)
    await school.page(HOTEL[10], "New", days_old=10)
    assert [m.statement for m in await school.memories("noted")] == [HOTEL[10]]


async def test_two_older_pages_read_late_silence_no_correction(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await corrected(school, "No, it's 170.", await school.person("ben"))
    await school.page(HOTEL[10], "Late", days_old=10, index=False)
    await school.page("The hotel limit is 165 euros a night.", "Later", days_old=5)
    assert [m.statement for m in await school.memories("noted")] == ["It's 170."]


async def test_a_page_newer_than_both_sides_of_a_dispute_overrides_both(school: School) -> None:
    takes = school.feedbacks()
    await takes.remember(HOTEL[30], await school.person("ana"), "test", "r1")
    await takes.remember(HOTEL[10], await school.person("ben"), "test", "r2")
    assert sum(m.conflict is not None for m in await school.memories("noted")) == 1
    await school.page(LATEST[1], "New", days_old=-1)
    assert [m.statement for m in await school.memories("noted")] == [LATEST[1]]


async def test_a_page_that_turns_out_to_be_older_overrides_nothing_newer(school: School) -> None:
    await school.page(HOTEL[30], "Handbook", days_old=10)
    await school.page(HOTEL[10], "News", days_old=1)
    assert await overrode(school) == {HOTEL[30]: HOTEL[10]}
    await school.page([HOTEL[10], "Trains are booked by Ines."], "News", days_old=30)
    assert await overrode(school) == {HOTEL[10]: HOTEL[30]}


async def test_the_oldest_of_many_stands_beside_none_of_them_though_it_is_read_last(school: School) -> None:
    for day in (25, 20, 15, 10, 5, 30):
        await school.page(f"The hotel limit is {200 - 2 * day} euros a night.", f"Page {day}", days_old=day)
    assert [m.title for m in await school.memories("noted")] == ["Page 5"]


async def test_another_persons_word_does_not_give_way(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await corrected(school, "No, it's 170.", await school.person("ben"))
    await school.feedbacks().remember("The hotel limit is 175 euros a night.", await school.person("ana"), "test", "r1")
    await school.collect()
    standing = {m.statement for m in await school.memories("noted")}
    assert "It's 170." in standing, "it is weighed against hers, not overridden"


async def test_what_won_a_dispute_gives_way_to_a_newer_page(school: School) -> None:
    ana, ben = await school.person("ana"), await school.person("ben", "admin")
    takes = school.feedbacks()
    kept = await takes.remember(HOTEL[30], ben, "test", "r1")
    lost = await takes.remember(HOTEL[10], ana, "test", "r2")
    async with school.database.team(school.team.id) as connection:
        await memories.settle(connection, kept.id, lost.id)
    await school.page("The hotel limit is 165 euros a night.", "Between", days_old=-0.001)
    await school.page(LATEST[1], "New", days_old=-1)
    assert [m.statement for m in await school.memories("noted")] == [LATEST[1]]


async def test_a_correction_of_a_newer_page_lets_no_older_page_return(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await school.page(HOTEL[10], "New", days_old=10)
    await corrected(school, "No, it's 170.", await school.person("ben"))
    assert [m.statement for m in await school.memories("noted")] == ["It's 170."]
    assert await school.feedbacks().retract("test", "c1")
    assert [m.statement for m in await school.memories("noted")] == [HOTEL[10]]


async def test_a_correction_that_only_says_a_value_stands_for_what_it_corrects(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await corrected(school, "No, it's 170.", await school.person("ben"))
    await school.page(HOTEL[10], "Late", days_old=10)  # older than the correction, read after it
    assert await overrode(school) == {HOTEL[30]: HOTEL[10], HOTEL[10]: "It's 170."}
    await school.page(LATEST[1], "New", days_old=-1)
    assert [m.statement for m in await school.memories("noted")] == [LATEST[1]]


async def test_a_correction_that_a_page_overrode_is_told_again_when_that_page_goes(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await corrected(school, "No, the hotel limit is 170 euros a night.", await school.person("ben"))
    source = await school.page(LATEST[1], "New", days_old=-1)
    told = "The hotel limit is 170 euros a night."
    assert [m.statement for m in await school.memories("noted")] == [LATEST[1]]
    async with school.database.team(school.team.id) as connection:
        await documents.retract(connection, source, "New.md")
        found = await passages.all(connection, [await school.everyone()])
    assert [passage.text for passage in found] == [told]


async def test_the_night_reports_what_was_overridden_by_day(school: School) -> None:
    await school.page(HOTEL[30], "Old", days_old=30)
    await school.page([HOTEL[10], "Trains are booked by Ines."], "New", days_old=10)
    first = await school.night()
    assert first.report["overridden"] == [{"old": HOTEL[30], "new": HOTEL[10]}]
    await school.page(LATEST[1], "Latest", days_old=1)
    second = await school.night()
    assert second.report["overridden"] == [{"old": HOTEL[10], "new": LATEST[1]}]

"""Questions about statements: those that find their own statement are kept, each statement gets a cue of its own."""

import pytest

from learner.engine.embedder import Embedder
from learner.recall import embed_statements
from learner.study.questions import keyword_question, prompt, sort_out, write
from tests.school import School

STATEMENTS = [
    ("Handbook › Travel", "Trains are booked by Ines."),
    ("Handbook › Money", "Expenses above 250 euros must be approved by Marta."),
    ("Handbook › Office", "The office in Lisbon opens at 8:30 every morning."),
]


async def test_a_question_that_finds_another_statement_is_dropped(embedder: Embedder) -> None:
    vectors = await embed_statements(embedder, STATEMENTS)
    written = [
        ["Who books the trains?", "When does the Lisbon office open in the morning?", "How are train tickets booked?"],
        ["Who approves expenses above 250 euros?"],
        [],
    ]
    more = [
        ("Handbook › Office", "The doors in Lisbon open at 7:00 in the morning."),
        ("Office", "Lisbon's office opens early."),
    ]
    others = await embed_statements(embedder, more)
    train, money, office = await sort_out(embedder, written, STATEMENTS, vectors, others)
    assert "When does the Lisbon office open in the morning?" not in (train.cue, *train.train, *train.quiz)
    assert {train.cue, *train.train, *train.quiz} == {"Who books the trains?", "How are train tickets booked?"}
    assert money.cue == "Who approves expenses above 250 euros?"
    # Where nothing good was asked there is still a cue.
    assert office.cue == "What about Office: The office in Lisbon?" and office.train == office.quiz == ()


async def test_what_the_team_knows_already_counts_too(embedder: Embedder) -> None:
    vectors = await embed_statements(embedder, STATEMENTS)
    others = await embed_statements(
        embedder, [("", "Expenses of the board are approved by Jonas."), ("", "Jonas approves expenses.")]
    )
    asked = [["Which expenses does Jonas approve?"]]
    [money] = await sort_out(embedder, asked, STATEMENTS[1:2], vectors[1:2], others)
    assert money.cue != "Which expenses does Jonas approve?"


async def test_no_two_statements_share_a_cue(embedder: Embedder) -> None:
    twins = [STATEMENTS[1], ("Old › Money", "Expenses above 250 euros must be approved by Petra.")]
    vectors = await embed_statements(embedder, twins)
    same = "Who approves expenses above 250 euros?"
    one, other = await sort_out(embedder, [[same], [same]], twins, vectors, vectors[:0])
    assert one.cue == same and other.cue != same


async def test_a_quiz_question_is_never_trained(embedder: Embedder) -> None:
    vectors = await embed_statements(embedder, STATEMENTS[:1])
    many = ["Who books the trains?", "How are trains booked?", "Who books train tickets?", "Who do I ask about trains?"]
    [asked] = await sort_out(embedder, [many], STATEMENTS[:1], vectors, vectors[:0])
    assert len(asked.quiz) == 1
    assert not set(asked.quiz) & {asked.cue, *asked.train}
    assert sorted([asked.cue, *asked.train, *asked.quiz]) == sorted(many)


def test_keyword_questions_are_lengthened_until_they_are_alone() -> None:
    statement = "Expenses above 250 euros must be approved by Marta."
    first = keyword_question("Handbook › Money", statement)
    assert first == "What about Money: Expenses above 250 euros?"
    assert keyword_question("Handbook › Money", statement, {"what about money expenses above 250 euros"}) == (
        "What about Money: Expenses above 250 euros must?"
    )
    statement = "Trains are booked by Ines."
    assert keyword_question("Travel", statement, {"what about travel trains are"}) == (
        "What about Travel: Trains are booked?"
    )
    taken = {f"what about travel {words}" for words in ("trains are", "trains are booked", "trains are booked by")}
    assert keyword_question("Travel", statement, taken) == "What about Travel: Trains are booked by Ines?"


@pytest.mark.parametrize(
    ("statement", "question"),
    [
        (STATEMENTS[1][1], "What about this: Expenses above 250 euros?"),
        (STATEMENTS[0][1], "What about this: Trains are?"),
        ("Doors close.", "What about this: Doors?"),
        ("Horse.", "What about this?"),
    ],
)
def test_a_keyword_question_shows_at_most_half_of_the_statement(statement: str, question: str) -> None:
    assert keyword_question("", statement) == question


def test_the_writer_sees_the_note_and_never_an_answer_of_the_teams() -> None:
    turns = prompt("Handbook › Money", STATEMENTS[1][1], "Who")
    assert turns[-1]["content"] == f"Note (Handbook › Money): {STATEMENTS[1][1]}\nBegin with: Who"
    assert [turn["role"] for turn in turns[:3]] == ["system", "user", "assistant"]


async def test_a_model_that_writes_nonsense_yields_no_question_and_no_error(school: School) -> None:
    told: list[tuple[int, int]] = []
    written = await write(school.engine, STATEMENTS, 2, lambda done, of: told.append((done, of)))
    assert len(written) == len(STATEMENTS)
    assert all(question.endswith("?") for questions in written for question in questions)
    assert told[-1] == (6, 6)


async def test_when_it_is_enough_the_rest_is_left_for_the_next_night(school: School) -> None:
    written = await write(school.engine, STATEMENTS * 30, 64, enough=lambda begun: begun >= 3)
    assert None not in written[:3] and set(written[3:]) == {None}
    written = await write(school.engine, STATEMENTS * 30, 64, enough=lambda begun: True)
    assert written[0] is not None and set(written[1:]) == {None}, "the first always has its turn"


async def test_a_single_companion_of_the_cue_is_the_quiz(embedder: Embedder) -> None:
    vectors = await embed_statements(embedder, STATEMENTS)
    own = [["Who books the trains?", "How are train tickets booked?"], [], []]
    train, *_ = await sort_out(embedder, own, STATEMENTS, vectors, vectors[:0])
    assert len(train.quiz) == 1 and train.train == ()

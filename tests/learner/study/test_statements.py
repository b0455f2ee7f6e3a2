"""Statements: what a person would quote from a page or a chat, each understandable alone."""

import pytest

from learner.study.statements import asks, of_document, of_message, plain, replies, sentences, spoken


def texts(markdown: str, title: str = "Handbook") -> list[str]:
    return [statement.text for statement in of_document(markdown, title)]


def test_prose_is_cut_into_sentences_with_their_headings() -> None:
    found = of_document(
        "Welcome to the handbook of the team.\n\n# Travel\n\nTrains are booked by Ines. Flights need Marta's approval.\n\n"
        "## Hotels\n\nHotels cost at most 140 euros a night.\n\n# Money\n\nExpenses are paid on Fridays.\n",
        "Handbook",
    )
    assert [(statement.context, statement.text) for statement in found] == [
        ("Handbook", "Welcome to the handbook of the team."),
        ("Handbook › Travel", "Trains are booked by Ines."),
        ("Handbook › Travel", "Flights need Marta's approval."),
        ("Handbook › Travel › Hotels", "Hotels cost at most 140 euros a night."),
        ("Handbook › Money", "Expenses are paid on Fridays."),
    ]
    assert [statement.ordinal for statement in found] == list(range(5))


def test_a_title_that_is_also_the_first_heading_is_said_once() -> None:
    [statement] = of_document("# Travel\n\nTrains are booked by Ines.", "Travel")
    assert statement.context == "Travel"


def test_a_sentence_that_leans_on_the_one_before_stays_with_it() -> None:
    assert texts("The allowance is 500 euros. It is paid in March. Marta pays it out.") == [
        "The allowance is 500 euros. It is paid in March.",
        "Marta pays it out.",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "Bring a device, e.g. Monday's laptop, to the meeting.",
        "The meeting with Dr. Weber starts at 9 a.m. Central European time.",
        "The limit is 2.5 percent of the price.",
        "Lunch costs approx. 12 euros.",
    ],
)
def test_abbreviations_and_decimals_end_no_sentence(sentence: str) -> None:
    assert sentences(sentence) == [sentence]


def test_a_list_is_said_with_the_words_that_introduce_it() -> None:
    assert texts("You may bring:\n\n- a laptop of your own\n- up to two guests\n") == [
        "You may bring: a laptop of your own",
        "You may bring: up to two guests",
    ]


def test_nested_lists_numbers_and_check_boxes() -> None:
    assert texts(
        "1. On the first day:\n   - get the badge from Ines\n   - sign the contract\n2. [x] Order a laptop at the IT desk\n"
    ) == [
        "On the first day: get the badge from Ines",
        "On the first day: sign the contract",
        "Order a laptop at the IT desk",
    ]


def test_a_table_row_names_its_columns() -> None:
    assert texts(
        "| Country | Allowance | Paid |\n|---|---:|---|\n| Portugal | 540 euros | monthly |\n| Spain | | yearly |\n"
    ) == [
        "Portugal: allowance 540 euros; paid monthly.",
        "Spain: paid yearly.",
    ]


def test_marks_are_taken_off_and_code_is_left_out() -> None:
    assert plain("**Ask** [the desk](https://desk.example/x) for `it`, ~~never~~ ![logo](logo.png)now") == (
        "Ask the desk for it, never now"
    )
    assert texts(
        "Run the build before noon.\n\n```sh\nrm -rf the build must never\n```\n\nThen tell Ines about it today."
    ) == [
        "Run the build before noon.",
        "Then tell Ines about it today.",
    ]


def test_questions_rules_and_fragments_teach_nothing() -> None:
    assert texts("Who is responsible for this?\n\n---\n\nSee below\n\nMore to come\n") == []


@pytest.mark.parametrize(
    "nothing", ["", "   \n\n", "# Only a heading\n", "\x00", "|", "|---|", "- ", "```\nunclosed code is"]
)
def test_odd_pages_make_no_statement_and_no_error(nothing: str) -> None:
    assert texts(nothing) == []


def test_a_page_of_a_megabyte_is_cut_in_seconds() -> None:
    assert len(texts("The office opens at 8:30 every morning. " * 25_000)) == 25_000


def test_a_chat_message_keeps_what_it_says_and_drops_the_talk() -> None:
    found = of_message("Hi all!\nThe *release* moves to Thursday at noon. Is that ok?\nthanks", "#general")
    assert [(statement.context, statement.text) for statement in found] == [
        ("#general", "The release moves to Thursday at noon.")
    ]


@pytest.mark.parametrize(
    "talk", ["Good morning everyone!", "thanks a lot", "lol", "Can somebody help me with that?", "+1", ""]
)
def test_talk_alone_is_no_statement(talk: str) -> None:
    assert of_message(talk, "#general") == []


def test_who_speaks_in_the_first_person_is_named() -> None:
    found = of_message(
        "Invoices must reach me by 16 December. The office is closed on Friday. In May it opens at 8.",
        "#general",
        "Ines",
    )
    assert [s.text for s in found] == [
        "Ines: Invoices must reach me by 16 December.", "The office is closed on Friday.", "In May it opens at 8."
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "The I/O limit is 40 MB.",
        "Part I covers tax.",
        "Set it in my.cnf before Friday.",
        "Deploy to me-south-1 first.",
        "The page is called My Account.",
        "The sign says “I am leaving” on one side.",
    ],
)
def test_who_speaks_of_something_else_is_not(text: str) -> None:
    assert spoken(text, "Ines") == text
    assert spoken("I'll send it, and my report too.", "Ines").startswith("Ines: ")


@pytest.mark.parametrize(
    ("text", "leans"),
    [
        ("Yes, from Monday on.", True),
        ("Agreed, then we wait.", True),
        ("It's the second floor.", True),
        ("+1, let's do that.", True),
        ("I do, every Friday.", True),
        ("Yesterday the lift was broken.", False),
        ("Nobody uses the old printer.", False),
        ("The office opens at 8:30.", False),
    ],
)
def test_a_reply_that_means_nothing_alone_is_told(text: str, leans: bool) -> None:
    assert replies(text) is leans


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Hi! Is the lift broken again?", "Is the lift broken again?"),
        ("Who knows that? I do not.", ""),
        ("Really?", ""),
        ("The lift is broken.", ""),
        ("😀", ""),
    ],
)
def test_what_a_message_asks_is_the_question_that_it_ends_with(text: str, asked: str) -> None:
    assert asks(text) == asked

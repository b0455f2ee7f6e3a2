"""What may be shown of a reply that is not whole yet."""

import pytest

from bot.stream import Stream, grounded_beginning

STATEMENT = "Interns are paid 1,450 euros a month, from May on."


@pytest.mark.parametrize(
    ("said", "sure"),
    [
        ("", ""),
        ("Inter", ""),  # may become anything
        ("Interns", ""),
        ("Interns ", "Interns"),
        ("interns  are\npaid", "interns  are"),  # letter case and spaces are no matter
        ("Interns are paid 1,450 ", "Interns are paid 1,450"),
        ("Interns are paid 1.450 euros ", "Interns are paid"),  # another figure
        ("Interns are paid 1,450.50 euros ", "Interns are paid"),
        ("Interns are not paid 1,450 euros ", "Interns are"),
        ("All interns are paid ", ""),
        (STATEMENT, STATEMENT.removesuffix(" on.")),
        (f"{STATEMENT} And a bonus ", STATEMENT),  # beyond the statement nothing is grounded
    ],
)
def test_only_whole_words_of_the_statements_beginning_are_sure(said: str, sure: str) -> None:
    assert grounded_beginning(said, STATEMENT) == sure


def streamed(reply: str, answer: str, size: int) -> str:
    """What a surface gets of a reply that comes in pieces of `size` characters and ends as `answer`."""
    got: list[str] = []
    stream = Stream(got.append)
    take = stream.reciting(STATEMENT)
    for at in range(0, len(reply), size):
        take(reply[at : at + size])
    stream.end(answer)
    assert all(got), "no empty pieces"
    return "".join(got)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_whatever_the_pieces_what_is_shown_is_the_answer_or_the_statements_beginning(size: int) -> None:
    agreeing = "Interns are paid 1,450 euros each month."
    assert streamed(STATEMENT, STATEMENT, size) == STATEMENT
    assert streamed(agreeing, agreeing, size) == agreeing
    assert streamed(f"  {agreeing} ", agreeing, size) == agreeing
    wrong, quoted = "Interns are paid 2,000 euros a month.", f"“{STATEMENT}”"
    assert streamed(wrong, quoted, size) == "Interns are paid"
    assert streamed("Nonsense.", quoted, size) == quoted


def test_nobody_need_listen() -> None:
    stream = Stream(None)
    stream.reciting(STATEMENT)(STATEMENT)
    stream.end(STATEMENT)

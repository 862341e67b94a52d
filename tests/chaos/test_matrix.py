"""The matrix itself: names are told apart, both sets are large enough, words choose rows."""

from sendtide.chaos import MUTATIONS, ROWS, chosen


def test_both_sets_have_the_rows_they_promise():
    """Eight rows in the short set, more than twenty-five in all, no name twice."""
    assert len([*chosen([], short=True)]) == 8
    assert len([*chosen([], short=False)]) == len({row.fault for row in ROWS}) >= 25
    assert {mutation.breaks for mutation in MUTATIONS} == {"fence", "order", "dedupe"}


def test_a_word_chooses_rows_of_any_set():
    """Upper and lower case are the same."""
    assert [row.fault for row in chosen(["ROLLED"], short=True)] == ["Redis rolled back"]

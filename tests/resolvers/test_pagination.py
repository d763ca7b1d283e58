"""Cursors are decoded again, and foreign ones are rejected."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.errors import BadInputError
from resolvers.pagination import check_first, decode_cursor, encode_cursor, make_page

KEYS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)


@given(KEYS)
def test_a_cursor_is_read_back(key: str) -> None:
    cursor = encode_cursor("coin", key)
    assert decode_cursor("coin", cursor) == key
    assert cursor.isascii()
    assert not set(cursor) & set("+/=%& ")
    with pytest.raises(BadInputError):
        decode_cursor("run", cursor)


@given(st.one_of(st.text(), st.binary().map(lambda b: base64.urlsafe_b64encode(b).decode())))
def test_foreign_cursors_are_rejected(cursor: str) -> None:
    with pytest.raises(BadInputError, match="is not a cursor of this list"):
        decode_cursor("a kind that nothing random begins with", cursor)


@given(st.lists(st.integers(), max_size=12), st.integers(1, 12))
def test_the_extra_row_shows_that_more_follow(rows: list[int], first: int) -> None:
    page = make_page(rows[: first + 1], first, None, str)
    assert page.rows == rows[:first]
    assert page.cursors == [str(row) for row in rows[:first]]
    assert page.has_next == (len(rows) > first)
    assert not page.has_previous
    assert make_page(rows, first, "after", str).has_previous


@pytest.mark.parametrize(("first", "fits"), [(0, False), (1, True), (500, True), (501, False)])
def test_page_sizes(first: int, *, fits: bool) -> None:
    if fits:
        assert check_first(first) == first
    else:
        with pytest.raises(BadInputError, match="between 1 and 500"):
            check_first(first)

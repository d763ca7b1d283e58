"""Locations in a document equal those of graphql-core."""

from graphql import Source
from hypothesis import given
from hypothesis import strategies as st

from schema.limits.source import IndexedSource


@given(st.text("a\n\r", max_size=30))
def test_locations_equal_graphql_cores(text: str) -> None:
    ours, theirs = IndexedSource(text), Source(text)
    for position in range(len(text) + 1):
        assert ours.get_location(position) == theirs.get_location(position)


def test_the_lines_are_counted_once() -> None:
    source = IndexedSource("\n" * 1000)
    assert source.get_location(7) == source.get_location(7) != source.get_location(8)
    assert "_line_ends" in vars(source)

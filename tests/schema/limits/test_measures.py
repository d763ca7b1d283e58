"""Measures equal those of the expanded document, in linear time."""

import pytest
from graphql import DocumentNode, parse
from hypothesis import given
from hypothesis import strategies as st

from schema.limits.measures import FULL, measure
from tests.schema.limits.naive import count

FRAGMENTS = 4


@st.composite
def selections(draw: st.DrawFn, first: int, depth: int = 0) -> str:
    """Draw a selection that spreads only fragments from `first` on, without cycles."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["field", "spread", "inline"]))
        directives = draw(st.sampled_from(["", " @include(if: true)", " @a @b(c: [1, [2]])"]))
        below = "" if depth == 3 else draw(st.just("") | selections(first, depth + 1))
        if kind == "spread" and first < FRAGMENTS:
            parts.append(f"...F{draw(st.integers(first, FRAGMENTS - 1))}{directives}")
        elif kind == "inline" and below:
            parts.append(f"... {directives} {below}")
        else:
            alias = draw(st.sampled_from(["", "x: "]))
            parts.append(f"{alias}a(b: {{c: 1}}){directives} {below}")
    return "{ " + " ".join(parts) + " }"


@st.composite
def documents(draw: st.DrawFn) -> DocumentNode:
    operations = [f"query Q{n} {draw(selections(0))}" for n in range(draw(st.integers(1, 2)))]
    fragments = [
        f"fragment F{n} on T {draw(st.sampled_from(['', '@d ']))}{draw(selections(n + 1))}"
        for n in range(FRAGMENTS)
    ]
    return parse(" ".join(draw(st.permutations([*operations, *fragments]))))


@pytest.mark.slow
@given(documents())
def test_measures_equal_those_of_the_expanded_document(document: DocumentNode) -> None:
    size, counts = measure(document).size, count(document)
    assert (size.depth, size.top) == (counts.depth, counts.top)
    assert (size.fields, size.aliases) == (counts.fields, counts.aliases)
    assert size.directives == counts.directives


def bomb(levels: int, width: int = 2) -> str:
    """Each fragment spreads the next one `width` times."""
    chain = [f"fragment F{n} on Q{{{f'...F{n + 1} ' * width}}}" for n in range(levels)]
    return f"{{...F0}}{''.join(chain)}fragment F{levels} on Q{{a}}"


def tokens(document: DocumentNode) -> int:
    assert document.loc is not None
    token, found = document.loc.start_token, 0
    while token.next is not None:
        token, found = token.next, found + 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        bomb(21),  # 692 bytes, with which Strawberry's limiters take seconds
        bomb(30),
        bomb(5_000),
        "{...F0}" + "".join(f"fragment F{n} on Q{{...F{(n + 1) % 5000}}}" for n in range(5_000)),
        "{" + "...F " * 5_000 + "} fragment F on Q { a ...F }",
        "{...F0}"
        + "".join(
            f"fragment F{n} on Q{{{' '.join(f'...F{m}' for m in range(n + 1, 60))} a}}"
            for n in range(60)
        ),
    ],
    ids=["692 bytes", "30 levels", "5,000 fragments", "a cycle", "spread by itself", "all in all"],
)
def test_the_time_is_linear_in_the_document(text: str) -> None:
    document = parse(text)
    assert measure(document).visited <= tokens(document)


def test_a_fragment_bomb_is_measured() -> None:
    assert measure(parse(bomb(21))).size.fields == 2**21
    assert measure(parse(bomb(2_000, 3))).size.fields == FULL


def test_visited_grows_with_the_document() -> None:
    """Shows that the counter behind the test of linear time works."""
    few, many = (measure(parse(bomb(levels))).visited for levels in (100, 1_000))
    assert 9 < many / few < 11

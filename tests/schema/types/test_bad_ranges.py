"""Invalid times, and ranges that are too large or reversed."""

import re
from datetime import UTC, datetime

import pytest

from tests.schema.refusals import PRICES, refused
from tests.serving import Reader


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("2026-01-31T14:00:00", "has no offset"),
        ("2026-01-31T14:00", "has no offset"),
        ("2026-01-31 14:00:00.123", "has no offset"),
        ("2026-02-30", "not an existing date"),
        ("2026-02-30T00:00:00Z", "not an existing date"),
        ("2026-01-31T25:00:00Z", "not an existing date"),
        ("2026-01-31T14:00:00+25:00", "not an existing date"),
        ("2026-01-31T23:59:60Z", "not an existing date"),
        ("0000-01-01", "not an existing date"),
        ("0001-01-01", "outside the years"),
        ("0001-01-01T00:00:00+14:00", "not an existing date"),
        ("9999-12-31T23:59:59-14:00", "not an existing date"),
        ("9999-12-31", "outside the years"),
        ("1969-12-31T23:59:59Z", "outside the years"),
        ("20260131", "not a DateTime"),
        ("2026-W05", "not a DateTime"),
        ("2026-1-31", "not a DateTime"),
        ("1767225600", "not a DateTime"),
        ("yesterday", "not a DateTime"),
        ("\uff12026-01-31", "not a DateTime"),
        ("2026-01-31T14:00:00Z ", "not a DateTime"),
        ("", "not a DateTime"),
        ("x" * 10_000, "not a DateTime"),
    ],
)
async def test_invalid_times(reader: Reader, written: str, words: str, *, inline: bool) -> None:
    if inline:
        query = f'{{ prices(coin: "bitcoin", from: "{written}") {{ next }} }}'
        status, code, message = await refused(reader, query)
    else:
        status, code, message = await refused(reader, PRICES, **{"from": written})
    assert (status, code) == (400, "BAD_USER_INPUT")
    assert words in message
    assert len(message) < 300


@pytest.mark.parametrize("value", [1767225600, 1.5, True, ["2026-01-31"], {"year": 2026}])
async def test_times_that_are_not_text(reader: Reader, value: object) -> None:
    assert (await refused(reader, PRICES, **{"from": value}))[:2] == (400, "BAD_USER_INPUT")


async def test_from_after_to(reader: Reader) -> None:
    wrong = {"from": "2026-02-01", "to": "2026-01-01"}
    for more in ({}, {"granularity": "DAY"}, {"first": 10}, {"coin": "nope"}):
        status, code, message = await refused(reader, PRICES, **wrong, **more)
        assert (status, code) == (400, "BAD_USER_INPUT")
        assert "`from` (2026-02-01T00:00:00Z) lies after `to` (2026-01-01T00:00:00Z)" in message
    nested = '{ coins { nodes { prices(from: "2026-02-01", to: "2026-01-01") { next } } } }'
    assert (await refused(reader, nested))[:2] == (400, "BAD_USER_INPUT")


async def test_a_future_range_is_empty(reader: Reader) -> None:
    """A client that polls after the last bucket receives nothing, not an error."""
    future = f"{datetime.now(UTC).year + 1}-01-01T00:00:00Z"
    query = """query ($from: DateTime) {
        prices(coin: "bitcoin", from: $from) { from to points { price } }
    }"""
    answer = await reader.data(query, **{"from": future})
    assert answer["prices"] == {"from": future, "to": future, "points": []}


@pytest.mark.parametrize(
    ("edges", "granularity", "ways"),
    [
        (("2020-01-01", "2026-01-01"), "HOUR", ["granularity: DAY", "first: 10000"]),
        (("1980-01-01", "2020-01-01"), "DAY", ["granularity: WEEK", "first: 10000"]),
        (("1980-01-01", "2020-01-01"), "HOUR", ["granularity: WEEK", "first: 10000"]),
        (("1970-01-01", "2200-01-01"), "WEEK", ["12,001 buckets", "granularity: MONTH"]),
    ],
)
async def test_ranges_that_are_too_large(
    reader: Reader, edges: tuple[str, str], granularity: str, ways: list[str]
) -> None:
    variables = {"from": edges[0], "to": edges[1], "granularity": granularity}
    status, code, message = await refused(reader, PRICES, **variables)
    assert (status, code) == (400, "RANGE_TOO_LARGE")
    assert all(way in message for way in ways)
    assert [way for way in ways if "granularity" in way] == re.findall(r"granularity: \w+", message)
    for first in (1, 10_000):
        await reader.data(PRICES, **variables, first=first)


async def test_the_range_limit_is_inclusive(reader: Reader) -> None:
    """Buckets that begin within the range count, not hours that fit into it."""
    whole = {"from": "2026-01-01T00:00:00Z", "to": "2027-02-21T16:00:00Z"}
    await reader.data(PRICES, **whole)
    later = {**whole, "to": "2027-02-21T16:00:01Z"}
    assert (await refused(reader, PRICES, **later))[1] == "RANGE_TOO_LARGE"
    await reader.data(PRICES, **{**later, "from": "2026-01-01T00:00:01Z"})
    weeks = {"from": "1970-01-05", "to": "2161-08-31", "granularity": "WEEK"}  # from a Monday on
    await reader.data(PRICES, **weeks)
    more = {**weeks, "to": "2161-08-31T00:00:01Z"}
    assert (await refused(reader, PRICES, **more))[1] == "RANGE_TOO_LARGE"
    months = {"from": "1970-01-01", "to": "2200-12-31", "granularity": "MONTH"}
    await reader.data(PRICES, **months)

"""Parsing and formatting of DateTime, compared with the standard library."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resolvers.errors import BadInputError
from schema.scalars import parse_bigint, parse_datetime, render_times, serialize_datetime

FIRST, LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 12, 30, tzinfo=UTC)
INSTANTS = st.integers(0, (LAST - FIRST) // timedelta(microseconds=1)).map(
    lambda micros: FIRST + timedelta(microseconds=micros)
)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(INSTANTS)
def test_formatted_times_are_parsed_back(instant: datetime) -> None:
    text = serialize_datetime(instant)
    assert text.endswith("Z")
    assert not text.endswith((".Z", "0Z")) or "." not in text
    assert parse_datetime(text) == instant == datetime.fromisoformat(text)


@given(INSTANTS, OFFSETS)
def test_an_offset_changes_nothing(instant: datetime, zone: timezone) -> None:
    assert parse_datetime(instant.astimezone(zone).isoformat()) == instant
    assert serialize_datetime(instant.astimezone(zone)) == serialize_datetime(instant)


@given(st.dates(FIRST.date(), LAST.date()))
def test_a_date_is_its_midnight(day: object) -> None:
    assert parse_datetime(str(day)) == datetime.fromisoformat(f"{day}T00:00:00+00:00")


@given(INSTANTS)
def test_a_time_without_an_offset_is_rejected(instant: datetime) -> None:
    with pytest.raises(BadInputError, match="has no offset"):
        parse_datetime(instant.replace(tzinfo=None).isoformat())


@given(st.lists(st.tuples(INSTANTS, st.sampled_from([1, 1000, 1_000_000]))))
def test_arrays_are_formatted_like_single_times(wanted: list[tuple[datetime, int]]) -> None:
    """In seconds, milliseconds, microseconds, and mixed."""
    instants = [i.replace(microsecond=i.microsecond // unit * unit) for i, unit in wanted]
    column = np.array([i.replace(tzinfo=None) for i in instants], dtype="datetime64[us]")
    assert render_times(column) == [serialize_datetime(i) for i in instants]


@given(st.text())
def test_any_text_is_parsed_or_rejected(text: str) -> None:
    refusal = ""
    try:
        read = parse_datetime(text)
    except BadInputError as error:
        refusal = str(error)
    assert len(refusal) < 250
    assert refusal or read.tzinfo is UTC


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.0, "1", True, None])
def test_whole_numbers_of_64_bits(value: object) -> None:
    assert parse_bigint(2**63 - 1) == 2**63 - 1
    with pytest.raises(BadInputError):
        parse_bigint(value)

"""Buckets by number, against the calendar of the standard library."""

import calendar
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.prices.granularity import Granularity, to_datetime, to_datetime64

instants = st.datetimes(datetime(1970, 1, 1), datetime(2200, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
MICROSECOND = timedelta(microseconds=1)


def begin(granularity: Granularity, at: datetime) -> datetime:
    midnight = datetime(at.year, at.month, at.day, tzinfo=UTC)
    return {
        "HOUR": midnight + timedelta(hours=at.hour),
        "DAY": midnight,
        "WEEK": midnight - timedelta(days=at.weekday()),
        "MONTH": midnight.replace(day=1),
    }[granularity]


def length(granularity: Granularity, start: datetime) -> timedelta:
    hours = {"HOUR": 1, "DAY": 24, "WEEK": 7 * 24}
    of_month = calendar.monthrange(start.year, start.month)[1] * 24
    return timedelta(hours=hours.get(granularity, of_month))


@pytest.mark.parametrize("granularity", Granularity)
@given(at=instants)
def test_the_bucket_of_an_instant(granularity: Granularity, at: datetime) -> None:
    start = begin(granularity, at)
    number = granularity.floor(at)
    assert to_datetime(granularity.starts(number)) == start
    assert granularity.ceil(at) == number + (at > start)
    end = start + length(granularity, start)
    assert to_datetime(granularity.starts(number + 1)) == end
    times = np.array([to_datetime64(start)])
    assert granularity.ends(times).tolist() == [end.replace(tzinfo=None)]
    assert granularity.numbers(times).tolist() == [number]
    assert granularity.floor(end - MICROSECOND) == number
    assert granularity.ceil(end - MICROSECOND) == granularity.ceil(end) == number + 1


@pytest.mark.parametrize("granularity", Granularity)
@given(at=instants, steps=st.integers(0, 40), late=st.integers(0, 1))
def test_buckets_that_begin_in_a_range(
    granularity: Granularity, at: datetime, steps: int, late: int
) -> None:
    start = end = begin(granularity, at)
    for _ in range(steps):
        end += length(granularity, end)
    assert granularity.buckets_between(start, end) == steps
    assert granularity.buckets_between(start, end + late * MICROSECOND) == steps + late
    assert granularity.buckets_between(start + late * MICROSECOND, end + MICROSECOND) == (
        steps + 1 - late
    )


@pytest.mark.parametrize("year", range(1999, 2035))
def test_weeks_are_iso_weeks_at_the_turn_of_each_year(year: int) -> None:
    for day in range(-10, 11):
        at = datetime(year, 1, 1, 13, 30, tzinfo=UTC) + timedelta(days=day)
        iso_year, week, _ = at.isocalendar()
        monday = datetime.fromisocalendar(iso_year, week, 1).replace(tzinfo=UTC)
        assert to_datetime(Granularity.WEEK.starts(Granularity.WEEK.floor(at))) == monday


def test_an_offset_changes_nothing() -> None:
    at = datetime.fromisoformat("2021-01-01T01:30:00+02:00")  # still 2020 in UTC
    assert to_datetime(Granularity.MONTH.starts(Granularity.MONTH.floor(at))).month == 12

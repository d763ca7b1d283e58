"""Samples to hours, against the same rules written out one sample at a time."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.coingecko.types import Chart, Samples
from ingestion.run.buckets import Bucketed, bucket_hours, daily_points

START = datetime(2026, 3, 1, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)
HOUR_MS = 3_600_000
END = START + timedelta(hours=6)

Point = tuple[int, float]
Points = list[Point]
Arrays = tuple[Points, Points, Points]


def chart_of(arrays: Arrays) -> Chart:
    def samples(points: Points) -> Samples:
        times = np.array([at for at, _ in points], np.int64)
        return Samples(times, np.array([value for _, value in points], np.float64))

    prices, caps, volumes = arrays
    return Chart(samples(prices), samples(caps), samples(volumes))


def naively(
    charts: Sequence[Arrays], start_ms: int, end_ms: int
) -> tuple[dict[int, tuple[int, float, float | None, float | None]], int]:
    """Hours by their first millisecond, and how many later samples were dropped."""

    def gather(which: int) -> dict[int, float]:
        seen: dict[int, float] = {}
        for arrays in charts:
            for at, value in arrays[which]:
                if start_ms <= at <= end_ms and math.isfinite(value):
                    seen.setdefault(at, value)
        return seen

    prices, caps, volumes = (gather(which) for which in range(3))
    hours: dict[int, tuple[int, float, float | None, float | None]] = {}
    for at in sorted(prices):
        hour = at - at % HOUR_MS
        hours.setdefault(hour, (at, prices[at], caps.get(at), volumes.get(at)))
    return hours, len(prices) - len(hours)


def spelt_out(found: Bucketed) -> dict[int, tuple[int, float, float | None, float | None]]:
    hours = found.hours
    assert all(len(part) == len(hours) for part in (hours.observed_at, hours.price, hours.volume))
    columns = (hours.bucket, hours.observed_at, hours.price, hours.market_cap, hours.volume)
    return {
        bucket // 1000: (observed // 1000, price, _known(cap), _known(volume))
        for bucket, observed, price, cap, volume in zip(
            *(column.tolist() for column in columns), strict=True
        )
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


# Few distinct times, so that charts overlap and samples meet at edges; the edges themselves too.
_offsets = st.sampled_from([0, 1, 270_000, HOUR_MS - 1]) | st.integers(0, HOUR_MS - 1)
_moments = st.builds(
    lambda hour, offset: START_MS + hour * HOUR_MS + offset, st.integers(-2, 7), _offsets
)
_values = st.floats(0, 1e9) | st.just(math.nan)
_points = st.lists(st.tuples(_moments, _values), max_size=20)
_charts = st.lists(st.tuples(_points, _points, _points), max_size=4)


@st.composite
def _matching(draw: st.DrawFn) -> list[Arrays]:
    """Charts as they come: three values at the same times, some of them missing."""
    charts: list[Arrays] = []
    for times in draw(st.lists(st.lists(_moments, max_size=20), max_size=3)):
        rows = [(at, draw(_values), draw(_values), draw(_values)) for at in times]
        kept = [row for row in rows if draw(st.booleans())]
        charts.append(
            (
                [(at, price) for at, price, _, _ in rows],
                [(at, cap) for at, _, cap, _ in kept],
                [(at, volume) for at, _, _, volume in rows],
            )
        )
    return charts


@pytest.mark.slow
@given(_charts | _matching())
@example([([(START_MS - 1, 1.0), (START_MS, 2.0), (START_MS + 6 * HOUR_MS, 3.0)], [], [])])
@example([([(START_MS + 5, 1.0), (START_MS + 4, 2.0)], [(START_MS + 4, 7.0)], [])])
@example([([(START_MS, math.nan), (START_MS + 1, 2.0)], [(START_MS, 7.0)], [])])
def test_hours_are_those_of_the_rules(charts: list[Arrays]) -> None:
    found = bucket_hours([chart_of(each) for each in charts], START, END)
    hours, dropped = naively(charts, START_MS, START_MS + 6 * HOUR_MS)
    assert spelt_out(found) == hours
    assert found.hours.bucket.tolist() == sorted(hour * 1000 for hour in hours)
    assert found.duplicates == dropped


@pytest.mark.slow
@given(_charts | _matching())
def test_the_newest_is_the_last_of_all_samples(charts: list[Arrays]) -> None:
    newest = bucket_hours([chart_of(each) for each in charts], START, END).newest
    # every sample in a bucket of its own
    seen = {
        at: value
        for prices, _, _ in reversed(charts)
        for at, value in reversed(prices)
        if START_MS <= at <= START_MS + 6 * HOUR_MS and math.isfinite(value)
    }
    if not seen:
        assert newest is None
        return
    assert newest is not None
    assert newest.observed_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        milliseconds=max(seen)
    )
    assert newest.price == seen[max(seen)]


@pytest.mark.slow
@given(_matching())
def test_the_order_within_an_answer_does_not_matter(charts: list[Arrays]) -> None:
    distinct = [tuple(list(dict(part).items()) for part in arrays) for arrays in charts]
    turned = [tuple(part[::-1] for part in arrays) for arrays in distinct]
    before, after = (
        bucket_hours([chart_of((a, b, c)) for a, b, c in each], START, END)
        for each in (distinct, turned)
    )
    assert spelt_out(before) == spelt_out(after)
    assert (before.newest, before.duplicates) == (after.newest, after.duplicates)


def test_a_shared_sample_counts_once_and_a_later_one_is_dropped() -> None:
    shared = (START_MS + 270_000, 5.0)
    late = (START_MS + 3_000_000, 6.0)
    charts: list[Arrays] = [([shared, late], [(late[0], 8.0)], []), ([shared], [], [])]
    found = bucket_hours([chart_of(each) for each in charts], START, END)
    assert found.hours.price.tolist() == [5.0]
    assert np.isnan(found.hours.market_cap).all()  # the late sample's is not the hour's
    assert found.duplicates == 1
    assert found.newest is not None
    assert (found.newest.price, found.newest.market_cap) == (6.0, 8.0)


def test_before_1970_is_floored_too() -> None:
    start = datetime(1969, 12, 31, 22, tzinfo=UTC)
    times = np.array([-1, -HOUR_MS, -HOUR_MS - 1], np.int64)
    none = Samples(np.empty(0, np.int64), np.empty(0))
    found = bucket_hours([Chart(Samples(times, np.arange(3.0)), none, none)], start, END)
    assert (found.hours.bucket // 1000).tolist() == [-2 * HOUR_MS, -HOUR_MS]
    assert found.hours.price.tolist() == [2.0, 1.0]
    assert found.duplicates == 1


def test_no_charts_no_hours() -> None:
    found = bucket_hours([], START, END)
    assert len(found.hours) == found.duplicates == 0
    assert found.newest is None


DAY_MS = 24 * HOUR_MS
YEAR = START + timedelta(days=100)


def days_of(points: Points, end: datetime = YEAR) -> dict[int, float]:
    """Prices of daily points by days after START."""
    found = daily_points([chart_of((points, [], []))], START, end)
    return {
        (bucket // 1000 - START_MS) // DAY_MS: price
        for bucket, price in zip(found.bucket.tolist(), found.price.tolist(), strict=True)
    }


def at(day: int, *, hours: float = 0, minutes: float = 0, seconds: float = 0) -> int:
    return START_MS + day * DAY_MS + round((hours * 3600 + minutes * 60 + seconds) * 1000)


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        # BTC on 2018-01-30 and 2018-02-08
        ([(at(0), 1.0), (at(1, minutes=5, seconds=18), 2.0), (at(2, minutes=5, seconds=28), 3.0)],
         {0: 1.0, 1: 2.0, 2: 3.0}),
        ([(at(1, minutes=5), 5.0), (at(1), 1.0), (at(1, seconds=3), 3.0)], {1: 1.0}),
        ([(at(1, minutes=59, seconds=59), 5.0)], {1: 5.0}),
        ([(at(1, hours=1), 5.0), (at(2, hours=12), 6.0), (at(3, hours=23.999), 7.0)], {}),
        ([(at(1), math.nan), (at(1, minutes=5), 2.0)], {1: 2.0}),
        ([], {}),
    ],
)  # fmt: skip
def test_a_daily_point_is_the_earliest_of_the_days_first_hour(
    points: Points, expected: dict[int, float]
) -> None:
    assert days_of(points) == expected
    assert days_of(points[::-1]) == expected


@pytest.mark.parametrize(
    ("now", "newest", "expected"),
    [
        (at(2, hours=15), (at(2, hours=14.9), 9.0), {0: 1.0, 1: 2.0}),
        (at(2, minutes=20), (at(2, minutes=19), 9.0), {0: 1.0, 1: 2.0}),  # just past midnight
        (at(2, hours=11), (at(2, minutes=19), 9.0), {0: 1.0, 1: 2.0}),  # cached for half a day
        (at(2, hours=15), (at(2), 9.0), {0: 1.0, 1: 2.0, 2: 9.0}),  # sharp: a day's own
        (at(40), (at(2, minutes=5), 9.0), {0: 1.0, 1: 2.0, 2: 9.0}),  # a chart that ends long ago
    ],
)
def test_the_now_point_is_no_day(now: int, newest: Point, expected: dict[int, float]) -> None:
    points = [(at(0), 1.0), (at(1, minutes=5, seconds=18), 2.0), newest]
    end = datetime.fromtimestamp(now / 1000, UTC)
    assert days_of(points, end) == expected

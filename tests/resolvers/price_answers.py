"""`PricePage`s built by hand, as inputs of computations."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from models.prices.granularity import Granularity, Times
from models.prices.read import Numbers, SeriesColumns
from resolvers.prices import PricePage
from resolvers.ranges import PriceRequest

START = datetime(2026, 1, 1, tzinfo=UTC)


def numbers_of(values: Sequence[float | None]) -> Numbers:
    """Make an array, with NaN for None."""
    return np.array([math.nan if value is None else value for value in values], np.float64)


def bucket_start(number: int, granularity: Granularity) -> datetime:
    """Return the start of a bucket by number; START, a Thursday, is in bucket 0."""
    if granularity is Granularity.MONTH:
        return START.replace(year=START.year + number // 12, month=number % 12 + 1)
    first = START - timedelta(days=3) if granularity is Granularity.WEEK else START
    hours = {Granularity.HOUR: 1, Granularity.DAY: 24, Granularity.WEEK: 168}
    return first + number * timedelta(hours=hours[granularity])


def times_of(places: Sequence[int], granularity: Granularity = Granularity.HOUR) -> Times:
    """Return the starts of the buckets with these numbers."""
    starts = (bucket_start(int(place), granularity) for place in places)
    return np.array([start.replace(tzinfo=None) for start in starts], "datetime64[us]")


def answer_of(
    values: Sequence[float | None],
    *,
    places: Sequence[int] | None = None,
    granularity: Granularity = Granularity.HOUR,
    descending: bool = False,
) -> PricePage:
    """Build an answer of prices in order of time; `descending` reverses it."""
    step = -1 if descending else 1
    prices = numbers_of(values)[::step]
    times = times_of(range(len(values)) if places is None else places, granularity)[::step]
    columns = SeriesColumns(
        timestamps=times,
        price=prices,
        market_cap=prices / 2,
        volume=np.full(len(prices), np.nan),
        samples=np.arange(len(prices), dtype=np.int32),
    )
    request = PriceRequest(granularity, START, START, descending=descending, first=None, now=START)
    return PricePage("bitcoin", "usd", request, START, 1, columns, None)

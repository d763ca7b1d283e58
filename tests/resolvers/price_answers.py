"""Answers made by hand, for what is computed from them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np

from models.prices.granularity import Granularity, Times
from models.prices.read import Numbers, PriceColumns
from resolvers.prices import PriceAnswer
from resolvers.ranges import PriceRequest

START = datetime(2026, 1, 1, tzinfo=UTC)


def numbers_of(values: Sequence[float | None]) -> Numbers:
    """Make an array, with NaN for None."""
    return np.array([math.nan if value is None else value for value in values], np.float64)


def bucket_start(number: int, granularity: Granularity) -> datetime:
    """Tell when the bucket with this number begins, counted from that of START, a Thursday."""
    if granularity is Granularity.MONTH:
        return START.replace(year=START.year + number // 12, month=number % 12 + 1)
    first = START - timedelta(days=3) if granularity is Granularity.WEEK else START
    hours = {Granularity.HOUR: 1, Granularity.DAY: 24, Granularity.WEEK: 168}
    return first + number * timedelta(hours=hours[granularity])


def times_of(places: Sequence[int], granularity: Granularity = Granularity.HOUR) -> Times:
    """Give the beginnings of the buckets with these numbers, counted from START."""
    starts = (bucket_start(int(place), granularity) for place in places)
    return np.array([start.replace(tzinfo=None) for start in starts], "datetime64[us]")


def answer_of(
    values: Sequence[float | None],
    *,
    places: Sequence[int] | None = None,
    granularity: Granularity = Granularity.HOUR,
    descending: bool = False,
) -> PriceAnswer:
    """Make an answer of prices in the order of time; `descending` turns it round."""
    step = -1 if descending else 1
    prices = numbers_of(values)[::step]
    times = times_of(range(len(values)) if places is None else places, granularity)[::step]
    columns = PriceColumns(
        timestamps=times,
        price=prices,
        market_cap=prices / 2,
        volume=np.full(len(prices), np.nan),
        samples=np.arange(len(prices), dtype=np.int32),
    )
    request = PriceRequest(granularity, START, START, descending=descending, first=None, now=START)
    return PriceAnswer("bitcoin", "usd", request, START, 1, columns, None)

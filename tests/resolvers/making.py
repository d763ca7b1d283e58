"""Answers made by hand, for what is computed from them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from models.prices import Granularity, Numbers, PriceColumns, Times
from resolvers.prices import PriceAnswer, PriceRequest

START = datetime(2026, 1, 1, tzinfo=UTC)


def numbers_of(values: Sequence[float | None]) -> Numbers:
    """Make an array, with NaN for None."""
    return np.array([math.nan if value is None else value for value in values], np.float64)


def times_of(places: Sequence[int], granularity: Granularity = Granularity.HOUR) -> Times:
    """Give the beginnings of the buckets with these numbers, counted from START."""
    start = np.datetime64(START.replace(tzinfo=None), "us")
    times: Times = start + np.array(places, np.int64) * np.timedelta64(granularity.length)
    return times


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
    request = PriceRequest(granularity, START, START, descending=descending, first=None)
    return PriceAnswer("bitcoin", "usd", request, START, 1, columns, None)

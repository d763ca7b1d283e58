"""What a range of prices says in a few numbers."""

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.prices.granularity import Granularity, Times, to_datetime
from models.prices.read import Numbers
from resolvers.analysis.observed import observed_indices
from resolvers.prices import PriceAnswer

_IN_A_YEAR = {  # crypto trades on all days
    Granularity.HOUR: 8_760,
    Granularity.DAY: 365,
    Granularity.WEEK: 52,
    Granularity.MONTH: 12,
}


@dataclass(frozen=True, slots=True)
class TimedPrice:
    """A price, and the beginning of its bucket."""

    at: datetime
    price: float


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The deepest fall, in percent of `peak`; 0 without peak and trough where nothing fell."""

    percent: float
    peak: TimedPrice | None
    trough: TimedPrice | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """None where there are too few prices, or where their size allows no answer."""

    count: int
    first: TimedPrice | None = None
    last: TimedPrice | None = None
    minimum: TimedPrice | None = None
    maximum: TimedPrice | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    change: float | None = None
    change_percent: float | None = None
    volatility: float | None = None
    maximum_drawdown: Drawdown | None = None


def statistics(answer: PriceAnswer) -> Statistics:
    """Sum up the prices that were seen; filled and missing points do not count."""
    places = observed_indices(answer)
    columns = answer.columns
    return summary(columns.timestamps[places], columns.prices[places], answer.request.granularity)


def summary(times: Times, prices: Numbers, granularity: Granularity) -> Statistics:
    """Sum up prices in the order of time, none of them NaN."""
    if not len(prices):
        return Statistics(0)
    with np.errstate(all="ignore"):  # `_finite` finds what grew out of bounds
        return _summary(times, prices, granularity)


def _summary(times: Times, prices: Numbers, granularity: Granularity) -> Statistics:
    count = len(prices)

    def at(place: int | np.intp) -> TimedPrice:
        return TimedPrice(to_datetime(times[place]), float(prices[place]))

    first, last = at(0), at(-1)
    change = last.price - first.price if count > 1 else None
    return Statistics(
        count=count,
        first=first,
        last=last,
        minimum=at(prices.argmin()),
        maximum=at(prices.argmax()),
        mean=_finite(_mean(prices)),
        standard_deviation=_finite(_deviation(prices)),
        change=_finite(change),
        change_percent=_percent(change, first.price),
        volatility=_finite(_volatility(times, prices, granularity)),
        maximum_drawdown=_drawdown(times, prices) if count > 1 else None,
    )


def _finite(value: float | None) -> float | None:
    """JSON has neither infinity nor NaN: what grew out of bounds is not known."""
    return value if value is not None and math.isfinite(value) else None


def _percent(change: float | None, of: float) -> float | None:
    return None if change is None or of <= 0 else _finite(change / of * 100)


def _mean(prices: Numbers) -> float:
    """Never outside of what it is the mean of, so that a constant is its own mean."""
    mean = float(prices.mean())
    return min(max(mean, float(prices.min())), float(prices.max())) if mean < math.inf else mean


def _deviation(values: Numbers) -> float | None:
    """Give the sample standard deviation (n - 1), None of fewer than two values.

    From the first value on, so that close values keep all their digits, and equal ones give 0. By
    the largest one, so that no square is out of bounds.
    """
    if len(values) < 2:  # noqa: PLR2004 - one value does not deviate
        return None
    shifted = values - values[0]
    shifted -= shifted.mean()
    largest = float(np.abs(shifted).max())
    if not largest:
        return 0.0
    shifted /= largest
    return largest * math.sqrt(float(shifted @ shifted) / (len(values) - 1))


def _volatility(times: Times, prices: Numbers, granularity: Granularity) -> float | None:
    """Give the standard deviation of log returns × √(buckets in a year), as a fraction.

    Only between neighbouring buckets: over a gap, a return would be one of a longer time.
    """
    if not (prices > 0).all():
        return None
    neighbours = np.diff(granularity.numbers(times)) == 1
    returns = np.log(prices[1:][neighbours] / prices[:-1][neighbours])
    deviation = _deviation(returns)
    return None if deviation is None else deviation * math.sqrt(_IN_A_YEAR[granularity])


def _drawdown(times: Times, prices: Numbers) -> Drawdown:
    peaks = np.maximum.accumulate(prices)
    falls = np.divide(peaks - prices, peaks, out=np.zeros(len(prices)), where=peaks > 0)
    trough = int(falls.argmax())
    if not falls[trough]:
        return Drawdown(0.0, None, None)
    peak = int(prices[: trough + 1].argmax())
    return Drawdown(
        percent=float(falls[trough]) * 100,
        peak=TimedPrice(to_datetime(times[peak]), float(prices[peak])),
        trough=TimedPrice(to_datetime(times[trough]), float(prices[trough])),
    )

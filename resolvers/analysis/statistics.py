"""Summary statistics of a price range."""

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from models.prices.granularity import Granularity, Times, to_datetime
from models.prices.read import Numbers
from resolvers.analysis.observed import observed_indices
from resolvers.prices import PricePage

_IN_A_YEAR = {  # crypto trades every day
    Granularity.HOUR: 8_760,
    Granularity.DAY: 365,
    Granularity.WEEK: 52,
    Granularity.MONTH: 12,
}


@dataclass(frozen=True, slots=True)
class TimedPrice:
    """A price, and the start of its bucket."""

    at: datetime
    price: float


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The largest relative fall, in percent of the price at `peak`.

    0 without peak and trough if no price fell.
    """

    percent: float
    peak: TimedPrice | None
    trough: TimedPrice | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """None stands for a value that needs more prices or exceeds the range of a float."""

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


def statistics(answer: PricePage) -> Statistics:
    """Summarise the observed prices; filled and missing points are excluded."""
    places = observed_indices(answer)
    columns = answer.columns
    return summary(columns.timestamps[places], columns.prices[places], answer.request.granularity)


def summary(times: Times, prices: Numbers, granularity: Granularity) -> Statistics:
    """Summarise prices in order of time, none of them NaN."""
    if not len(prices):
        return Statistics(0)
    with np.errstate(all="ignore"):  # `_finite` replaces infinite results
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
    """Return the value; None for infinity and NaN, which JSON lacks."""
    return value if value is not None and math.isfinite(value) else None


def _percent(change: float | None, of: float) -> float | None:
    return None if change is None or of <= 0 else _finite(change / of * 100)


def _mean(prices: Numbers) -> float:
    """Return the mean, never outside of the prices' range: rounding could exceed it."""
    mean = float(prices.mean())
    return min(max(mean, float(prices.min())), float(prices.max())) if mean < math.inf else mean


def _deviation(values: Numbers) -> float | None:
    """Return the sample standard deviation (n - 1); None for fewer than two values.

    Subtracts the first value, so that close values keep all digits and equal ones give 0. Divides
    by the largest, so that no square overflows.
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
    """Return the standard deviation of log returns × √(buckets in a year), as a fraction.

    Only adjacent buckets give a return; over a gap, it would cover a longer time.
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

"""Groups samples into hours. Pure.

A sample belongs to the hour in which it was observed (floor). The earliest sample of an hour
becomes that hour's sample, because CoinGecko's later ones are strays or the unaligned "now" point.
An hour without a sample stays missing. Days are computed from hours in the transaction that stores
them (`models.prices`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from ingestion.coingecko.types import Chart, Samples
from models.prices.hours import Hours, micros

_HOUR_MS = 3_600_000
_DAY_MICROS = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Observation:
    """One observed price. Market cap and volume are None if upstream gave none."""

    observed_at: datetime
    price: float
    market_cap: float | None
    volume: float | None


@dataclass(frozen=True, slots=True)
class Bucketed:
    """The hours of a range, the number of later samples dropped, and the newest observation."""

    hours: Hours
    duplicates: int
    newest: Observation | None


def bucket_hours(charts: Sequence[Chart], start: datetime, end: datetime) -> Bucketed:
    """Group the charts' samples from `start`, which is on the hour, to `end` inclusive, by hour.

    Charts may overlap: a sample in two of them counts once.
    """
    prices = _join([chart.prices for chart in charts], start, end)
    times = prices.times
    market_caps = _at(times, _join([chart.market_caps for chart in charts], start, end))
    volumes = _at(times, _join([chart.volumes for chart in charts], start, end))
    hours, first = np.unique(times // _HOUR_MS, return_index=True)
    newest = None
    if len(times):
        newest = Observation(
            _EPOCH + timedelta(milliseconds=int(times[-1])),
            float(prices.values[-1]),
            _known(market_caps[-1]),
            _known(volumes[-1]),
        )
    return Bucketed(
        hours=Hours(
            bucket=hours * (_HOUR_MS * 1000),
            observed_at=times[first] * 1000,
            price=prices.values[first],
            market_cap=market_caps[first],
            volume=volumes[first],
        ),
        duplicates=len(times) - len(hours),
        newest=newest,
    )


def daily_points(charts: Sequence[Chart], start: datetime, end: datetime) -> Hours:
    """Return upstream's daily points: the earliest sample of the first hour of each UTC day.

    Most are exactly at midnight, some are minutes later. If the charts reach to `end`, their last
    sample is the "now" point, which is a daily point only if it is exactly at midnight.
    """
    hours = bucket_hours(charts, start, end).hours
    daily = hours.bucket % _DAY_MICROS == 0
    newest = max((_newest(chart.prices) for chart in charts), default=0) * 1000
    if newest > micros(end) - _DAY_MICROS:
        daily &= (hours.observed_at < newest) | (hours.observed_at == hours.bucket)
    return Hours(**{field.name: getattr(hours, field.name)[daily] for field in fields(Hours)})


def _newest(samples: Samples) -> int:
    """Return the time of the newest sample in milliseconds since 1970; 0 if there is none."""
    times = samples.times[np.isfinite(samples.values)]
    return int(times.max()) if len(times) else 0


def _join(parts: Sequence[Samples], start: datetime, end: datetime) -> Samples:
    """Merge samples by ascending time, without nulls, duplicates, and times outside the range."""
    times = np.concatenate([part.times for part in parts]) if parts else np.empty(0, np.int64)
    values = np.concatenate([part.values for part in parts]) if parts else np.empty(0)
    low, high = (round((edge - _EPOCH) / timedelta(milliseconds=1)) for edge in (start, end))
    usable = np.isfinite(values) & (times >= low) & (times <= high)
    times, index = np.unique(times[usable], return_index=True)
    return Samples(times, values[usable][index])


def _at(times: npt.NDArray[np.int64], samples: Samples) -> npt.NDArray[np.float64]:
    """Return the values observed at exactly these times; NaN if there is none."""
    if np.array_equal(times, samples.times):  # the usual case
        return samples.values
    found = np.full(len(times), np.nan)
    _, here, there = np.intersect1d(times, samples.times, assume_unique=True, return_indices=True)
    found[here] = samples.values[there]
    return found


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)

"""Computes days from hours, vectorized. Pure and deterministic to the bit."""

import numpy as np
import numpy.typing as npt

from models.prices.hours import Rows

DAY_MICROS = 86_400_000_000
# `day` counts from 1970-01-01; market cap and volume are NaN if no hour has one.
DAY_ROW = np.dtype(
    [
        ("day", np.int64),
        ("price", np.float64),
        ("open", np.float64),
        ("high", np.float64),
        ("low", np.float64),
        ("close", np.float64),
        ("market_cap", np.float64),
        ("volume", np.float64),
        ("samples", np.int32),
    ]
)


def day_numbers(micros: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the UTC days of microseconds since 1970, counted from 1970-01-01."""
    return micros // DAY_MICROS


def days_of(hours: Rows) -> Rows:
    """Compute one row of `DAY_ROW` per day from rows of `HOUR_ROW` by ascending bucket."""
    days, first = np.unique(day_numbers(hours["bucket"]), return_index=True)
    made = np.empty(len(days), DAY_ROW)
    if not len(days):
        return made
    price = np.ascontiguousarray(hours["price"])
    last = np.append(first[1:], len(hours)) - 1
    made["day"] = days
    made["samples"] = last - first + 1
    made["open"], made["close"] = price[first], price[last]
    made["high"] = np.maximum.reduceat(price, first)
    made["low"] = np.minimum.reduceat(price, first)
    # Divided first by 32, more than the hours of a day, so that no sum overflows. A power of two
    # loses no precision.
    mean = np.add.reduceat(price / 32, first) / (made["samples"] / 32)
    # rounding could move the mean of a constant price off that price
    made["price"] = np.clip(mean, made["low"], made["high"])
    for name in ("market_cap", "volume"):
        made[name] = _last_known(hours[name], first)
    return made


def days_at(midnights: Rows) -> Rows:
    """Make one row of `DAY_ROW` per sample taken at midnight, which is the day's only price."""
    made = np.empty(len(midnights), DAY_ROW)
    made["day"] = day_numbers(midnights["bucket"])
    for name in ("price", "open", "high", "low", "close"):
        made[name] = midnights["price"]
    for name in ("market_cap", "volume"):
        made[name] = midnights[name]
    made["samples"] = 1
    return made


def _last_known(
    values: npt.NDArray[np.float64], first: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Return the last value of each group that is not NaN; `first` holds the groups' starts."""
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    place = np.maximum.reduceat(known, first)
    return np.where(place < 0, np.nan, values[place])

"""Days made of their hours, all at once. Pure: the same hours always give the same bits."""

import numpy as np
import numpy.typing as npt

from models.prices.hours import Rows

DAY_MICROS = 86_400_000_000
# `day` counts from 1970; market cap and volume are NaN where no hour has one.
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
    """Tell the UTC days of these moments, counted from 1970."""
    return micros // DAY_MICROS


def days_of(hours: Rows) -> Rows:
    """Make one row of `DAY_ROW` for each day that has hours; these come by rising bucket."""
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
    # divided by more than a day's hours first, so that no sum overflows; a power of two is exact
    mean = np.add.reduceat(price / 32, first) / (made["samples"] / 32)
    # rounding would put the mean of a constant price beside that price
    made["price"] = np.clip(mean, made["low"], made["high"])
    for name in ("market_cap", "volume"):
        made[name] = _last_known(hours[name], first)
    return made


def days_at(midnights: Rows) -> Rows:
    """Make one row of `DAY_ROW` of each sample taken at a midnight: the only price of its day."""
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
    """Give the last value of each group that is not NaN; `first` are the places they begin at."""
    known = np.where(np.isnan(values), -1, np.arange(len(values)))
    place = np.maximum.reduceat(known, first)
    return np.where(place < 0, np.nan, values[place])

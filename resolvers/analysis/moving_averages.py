"""Moving averages of a series."""

from enum import StrEnum

import numpy as np

from models.prices.read import Numbers
from resolvers.analysis.observed import observed_indices
from resolvers.pagination import check_between
from resolvers.prices import PricePage
from resolvers.ranges import MOST_POINTS


class AverageKind(StrEnum):
    """Simple or exponential."""

    SMA = "SMA"
    EMA = "EMA"


def moving_average(answer: PricePage, window: int, kind: AverageKind) -> Numbers:
    """Return the average at each point, in the order of the points; NaN where there is none.

    It runs over the observed prices in order of time, whatever the order and the fill policy of the
    request are. So it has the same value at the same time in all of them. Raises BadInputError.
    """
    check_between("window", window, 1, MOST_POINTS)
    averages = np.full(len(answer.columns), np.nan)
    places = observed_indices(answer)
    average = simple_average if kind is AverageKind.SMA else exponential_average
    with np.errstate(over="ignore"):  # prices near the largest float give infinity
        averages[places] = average(answer.columns.prices[places], window)
    return averages


def simple_average(prices: Numbers, window: int) -> Numbers:
    """Return the mean of each price and the `window` - 1 before it; NaN for the first ones.

    A running sum that adds the newest price and subtracts the oldest would keep the rounding error
    of a price of 1e12 long after it has left the window. This builds sums of 1, 2, 4, 8, … prices
    from each other and combines them to sums of `window` prices, without any subtraction.
    """
    averages = np.full(len(prices), np.nan)
    if window > len(prices):
        return averages
    block, length = prices, 1  # block[i] is the sum of `length` prices from i on
    total, summed = np.zeros(len(prices) + 1), 0  # total[i], that of `summed` prices from i on
    while True:
        if window & length:
            total = total[: len(block) - summed] + block[summed:]
            summed += length
        if summed == window:
            break
        block = block[:-length] + block[length:]
        length *= 2
    averages[window - 1 :] = total / window
    return averages


def exponential_average(prices: Numbers, window: int) -> Numbers:
    """Return 2 / (`window` + 1) × price + the rest × the average before, for each price.

    The first average is the mean of the first `window` prices; NaN before it.
    """
    averages = np.full(len(prices), np.nan)
    if window > len(prices):
        return averages
    weight = 2 / (window + 1)
    average = float(prices[:window].mean())
    following = [average]
    for price in prices[window:].tolist():
        average = weight * price + (1 - weight) * average
        following.append(average)
    averages[window - 1 :] = following
    return averages

"""Moving averages over the points of a series."""

from enum import StrEnum

import numpy as np

from models.prices.read import Numbers
from resolvers.analysis.observed import observed_indices
from resolvers.pagination import check_between
from resolvers.prices import PriceAnswer
from resolvers.ranges import MOST_POINTS


class AverageKind(StrEnum):
    SMA = "SMA"
    EMA = "EMA"


def moving_average(answer: PriceAnswer, window: int, kind: AverageKind) -> Numbers:
    """Give the average at each point, in the order of the points; NaN where there is none.

    It runs over the prices that were seen, whatever the order and the filling asked for, so that
    it is the same number at the same time in all of them. Raises BadInputError.
    """
    check_between("window", window, 1, MOST_POINTS)
    averages = np.full(len(answer.columns), np.nan)
    places = observed_indices(answer)
    average = simple_average if kind is AverageKind.SMA else exponential_average
    with np.errstate(over="ignore"):  # of prices near the largest float: infinite
        averages[places] = average(answer.columns.prices[places], window)
    return averages


def simple_average(prices: Numbers, window: int) -> Numbers:
    """Give the mean of each price and the `window` - 1 before it; NaN for the first of them.

    A running sum, adding the newest and taking the oldest away, would keep the rounding of a price
    of 1e12 long after it has left the window. Here sums of 1, 2, 4, 8, … prices are built from
    each other and put together to `window`: nothing is ever subtracted.
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
    """Weigh each price with 2 / (`window` + 1), what was before with the rest.

    Begins with the mean of the first `window` prices; NaN before it.
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

"""Downsampling for charts: fewer points with the same shape."""

from dataclasses import replace

import numpy as np
from tsdownsample import LTTBDownsampler

from models.prices.granularity import Times
from models.prices.read import Numbers
from resolvers.analysis.observed import Indices, observed_indices
from resolvers.pagination import check_between
from resolvers.prices import PricePage
from resolvers.ranges import MOST_POINTS

_FEWEST = 4  # the first, the last, the lowest and the highest point
_FEWEST_FOR_LTTB = 3
_HOUR = np.timedelta64(1, "h")
_LTTB = LTTBDownsampler()  # type: ignore[no-untyped-call] # it leaves its __init__ untyped


def downsampled(answer: PricePage, most: int) -> PricePage:
    """Return at most `most` of the points that have a price. Raises BadInputError."""
    check_between("maxPoints", most, _FEWEST, MOST_POINTS)
    places = observed_indices(answer)
    columns = answer.columns
    selected = places[choose(columns.timestamps[places], columns.prices[places], most)]
    return replace(answer, columns=columns.take(np.sort(selected)))


def choose(times: Times, prices: Numbers, most: int) -> Indices:
    """Return ascending indices by Largest Triangle Three Buckets, extremes included.

    Source of the algorithm: Sveinn Steinarsson, "Downsampling Time Series for Visual
    Representation", 2013.
    """
    if len(prices) <= most:
        return np.arange(len(prices))
    hours = (times - times[0]) / _HOUR
    for spared in (0, 1, 2):  # LTTB may omit an extreme; make room for it
        selected = np.zeros(len(prices), dtype=bool)
        selected[_largest_triangles(hours, prices, most - spared)] = True
        selected[[prices.argmin(), prices.argmax()]] = True
        if np.count_nonzero(selected) <= most:
            break
    return np.flatnonzero(selected)


def _largest_triangles(hours: Numbers, prices: Numbers, count: int) -> Indices:
    if count < _FEWEST_FOR_LTTB:
        return np.array([0, len(prices) - 1])
    chosen: Indices = _LTTB.downsample(hours, prices, n_out=count).astype(np.intp)
    return chosen

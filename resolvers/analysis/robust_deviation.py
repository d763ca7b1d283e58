"""The distance of values from the preceding ones, in robust deviations."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from models.prices.read import Numbers

Flags = npt.NDArray[np.bool_]

MAD_TO_DEVIATION = 1.4826  # of a normal distribution, 1 / Φ⁻¹(3/4)
MEAN_TO_DEVIATION = 1.2533  # of a normal distribution's mean absolute deviation, √(π/2)
# One ten-thousandth of a percent: smaller moves are ignored, even after a constant price.
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True, slots=True)
class Trailing:
    """What the preceding values predict for each place; NaN if too few of them are known.

    `still` is True if all of them are zero.
    """

    center: Numbers
    deviation: Numbers
    still: Flags


def trailing(values: Numbers, window: int, places: npt.NDArray[np.intp]) -> Trailing:
    """Evaluate the `window` values before each of `places`, which are all ≥ `window`.

    `values` are NaN where unknown; at least half of a window must be known. The deviation is 1.4826
    × MAD. If the MAD is 0, because more than half of the values are equal, it is 1.2533 × the mean
    absolute deviation. It is at least LEAST_DEVIATION.
    """
    windows = sliding_window_view(values, window)[places - window]
    windows.sort(axis=1)  # indexing has made a copy; NaN comes last
    known = window - np.isnan(windows).sum(axis=1)
    center, deviation = np.full((2, len(places)), np.nan)
    still = np.zeros(len(places), dtype=bool)
    for count in np.unique(known):
        if 2 * count < window:
            continue
        rows = known == count
        # one column for each place, so that each operation covers all places at once
        ordered = np.ascontiguousarray(windows[rows, :count].T)
        center[rows] = middle = _median(ordered)
        deviation[rows] = _deviation(ordered, middle)
        still[rows] = (ordered[0] == 0) & (ordered[-1] == 0)
    return Trailing(center, deviation, still)


def _median(ordered: Numbers) -> Numbers:
    count = len(ordered)
    median: Numbers = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
    return median


def _deviation(ordered: Numbers, middle: Numbers) -> Numbers:
    count = len(ordered)
    lower = _nearest(ordered, middle, (count + 1) // 2)
    upper = lower if count % 2 else _nearest(ordered, middle, count // 2 + 1)
    deviation = MAD_TO_DEVIATION * ((lower + upper) / 2)
    (alike,) = np.nonzero(deviation == 0)
    if len(alike):
        strays = np.abs(ordered[:, alike] - middle[alike]).mean(axis=0)
        deviation[alike] = MEAN_TO_DEVIATION * strays
    return np.maximum(deviation, LEAST_DEVIATION)


def _nearest(ordered: Numbers, middle: Numbers, rank: int) -> Numbers:
    """Return the distance from `middle` to the `rank`-th nearest value.

    The `rank` nearest values are adjacent in the sorted values, and the farthest of them is at one
    end. So the minimum over all runs of that length gives the distance, without sorting distances.
    """
    last = len(ordered) - rank + 1
    distance: Numbers = np.maximum(middle - ordered[:last], ordered[rank - 1 :] - middle).min(
        axis=0
    )
    return distance

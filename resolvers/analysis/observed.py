"""Which points of an answer are prices that were seen, and not stand-ins for missing ones."""

import numpy as np
import numpy.typing as npt

from resolvers.prices import PriceAnswer

Indices = npt.NDArray[np.intp]


def observed_indices(answer: PriceAnswer) -> Indices:
    """Give the places of the points with a price of their own, the oldest first."""
    real = np.isfinite(answer.column("price"))
    if answer.columns.filled is not None:
        real &= ~answer.columns.filled
    places = np.flatnonzero(real)
    return places[::-1] if answer.request.descending else places

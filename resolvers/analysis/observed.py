"""The points of a response that are observed prices, not filled ones."""

import numpy as np
import numpy.typing as npt

from resolvers.prices import PricePage

Indices = npt.NDArray[np.intp]


def observed_indices(answer: PricePage) -> Indices:
    """Return the indices of the points with a price of their own, oldest first."""
    real = np.isfinite(answer.column("price"))
    if answer.columns.filled is not None:
        real &= ~answer.columns.filled
    places = np.flatnonzero(real)
    return places[::-1] if answer.request.descending else places

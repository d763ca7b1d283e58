"""Days made of hours in plain Python, to hold PostgreSQL's against."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any


class Near(float):
    """Equal to what differs by no more than rounding."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and math.isclose(self, other, rel_tol=1e-12)

    __hash__ = float.__hash__


def day_of(hours: Sequence[tuple[float, float | None, float | None]]) -> tuple[Any, ...]:
    """Mean, open, high, low, close, market cap, volume, samples of (price, cap, volume) by hour."""
    prices = [price for price, _, _ in hours]
    caps = [cap for _, cap, _ in hours if cap is not None]
    volumes = [volume for _, _, volume in hours if volume is not None]
    return (
        Near(fmean(prices)),
        prices[0],
        max(prices),
        min(prices),
        prices[-1],
        caps[-1] if caps else None,
        volumes[-1] if volumes else None,
        len(prices),
    )

"""Finds the hours and days of a series that are missing. Pure."""

from datetime import datetime

from models.prices.coverage import measure
from models.prices.granularity import Granularity, Times, to_datetime

Gap = tuple[datetime, datetime]  # [start, end), on the hour or at midnight


def find_gaps(
    known: Times, start: datetime, now: datetime, granularity: Granularity = Granularity.HOUR
) -> tuple[Gap, ...]:
    """List the gaps in `known` from `start` on, among hours or days that have ended by `now`.

    `known` holds the starts of the buckets that are stored, or not to be requested now, in
    ascending order.
    """
    found = measure(granularity, known, start=start, end=max(start, now), begins=start, now=now)
    edges = zip(found.starts, found.ends, strict=True)
    return tuple((to_datetime(first), to_datetime(end)) for first, end in edges)

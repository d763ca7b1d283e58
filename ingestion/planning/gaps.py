"""Which hours and days of a series are missing and worth asking for. Pure."""

from datetime import datetime

from models.prices.coverage import measure
from models.prices.granularity import Granularity, Times, to_datetime

Gap = tuple[datetime, datetime]  # [start, end), on the hour or at midnight


def find_gaps(
    known: Times, start: datetime, now: datetime, granularity: Granularity = Granularity.HOUR
) -> tuple[Gap, ...]:
    """List the runs of hours or days from `start` on, over at `now`, that are not among `known`.

    `known` holds those that are stored or are not to be asked for now, the oldest first.
    """
    found = measure(granularity, known, start=start, end=max(start, now), begins=start, now=now)
    edges = zip(found.starts, found.ends, strict=True)
    return tuple((to_datetime(first), to_datetime(end)) for first, end in edges)

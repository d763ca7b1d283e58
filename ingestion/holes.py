"""Which hours of a series are missing and worth asking for. Pure."""

from datetime import datetime

from models.coverage import measure
from models.granularity import Granularity, Times, to_datetime

Hole = tuple[datetime, datetime]  # [start, end), on the hour


def find_holes(answered: Times, start: datetime, now: datetime) -> tuple[Hole, ...]:
    """List the runs of hours from `start` on, over at `now`, that are not among those answered.

    `answered` holds the hours that are stored or known to be missing upstream, the oldest first.
    """
    found = measure(
        Granularity.HOUR, answered, start=start, end=max(start, now), begins=start, now=now
    )
    edges = zip(found.starts, found.ends, strict=True)
    return tuple((to_datetime(first), to_datetime(end)) for first, end in edges)

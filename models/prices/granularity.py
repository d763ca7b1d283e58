"""Bucket lengths, and where buckets begin and end. Pure arithmetic, in UTC.

The buckets of a granularity have consecutive numbers, so that counting buckets and finding gaps is
a subtraction, although months differ in length. Bucket 0 contains 1970-01-01.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.datetime64]  # microseconds, UTC
Numbered = npt.NDArray[np.int64]

_UNITS = {"HOUR": "h", "DAY": "D", "WEEK": "D", "MONTH": "M"}
_WEEK = 7
_MONDAY = 3  # 1970-01-01 was a Thursday


class Granularity(StrEnum):
    """The length of a bucket: an hour, a UTC day, an ISO week from Monday, a calendar month."""

    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"

    def floor(self, instant: datetime) -> int:
        """Return the number of the bucket that contains an instant."""
        return int(self.numbers(to_datetime64(instant)))

    def ceil(self, instant: datetime) -> int:
        """Return the number of the first bucket that begins at or after an instant."""
        number = self.floor(instant)
        return number + bool(self.starts(number) < to_datetime64(instant))

    def buckets_between(self, start: datetime, end: datetime) -> int:
        """Count the buckets that begin in [start, end)."""
        return self.ceil(end) - self.ceil(start)

    def numbers(self, times: Times | np.datetime64) -> Numbered:
        """Return the numbers of the buckets that contain these times."""
        number: Numbered = times.astype(f"datetime64[{_UNITS[self]}]").astype(np.int64)
        return (number + _MONDAY) // _WEEK if self is Granularity.WEEK else number

    def starts(self, numbers: Numbered | Sequence[int] | int) -> Any:  # noqa: ANN401 - Times, or one of one number
        """Return the start times of the buckets with these numbers."""
        number = np.asarray(numbers, dtype=np.int64)
        if self is Granularity.WEEK:
            number = number * _WEEK - _MONDAY
        return number.astype(f"datetime64[{_UNITS[self]}]").astype("datetime64[us]")[()]

    def ends(self, starts: Times) -> Times:
        """Return the end times of the buckets that begin at these times."""
        ends: Times = self.starts(self.numbers(starts) + 1)
        return ends


def to_datetime64(instant: datetime) -> np.datetime64:
    """Convert to numpy's time in microseconds, UTC."""
    return np.datetime64(instant.astimezone(UTC).replace(tzinfo=None), "us")


def to_datetime(instant: np.datetime64) -> datetime:
    """Convert numpy's time, which is in UTC, to a datetime with an offset."""
    naive: datetime = instant.astype("datetime64[us]").item()
    return naive.replace(tzinfo=UTC)

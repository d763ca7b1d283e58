"""What a response depends on, and therefore how long a cache may hold it."""

from collections.abc import Iterable
from datetime import datetime

CATALOGUE = "catalogue"  # coins, their metadata, currencies, and the set of series
Tag = int | str  # a series' id, or CATALOGUE


class CacheDependencies:
    """Collects what one operation reads. Every resolver that reads data records it here.

    `tags` are the series and the catalogue that were read: a notification of a change to one of
    them invalidates the response. `relative` is True if the response depends on the moment it was
    computed, as an age does. `until` is the moment at which the response changes without a
    notification; None if there is none. `uncacheable` is True if the response shows data that
    changes without notifications, such as a refresh run's progress; it must never be cached.
    """

    __slots__ = ("relative", "tags", "uncacheable", "until")

    def __init__(self) -> None:
        self.tags: set[Tag] = set()
        self.relative = False
        self.until: datetime | None = None
        self.uncacheable = False

    def add_series(self, ids: Iterable[int]) -> None:
        """Record that prices, newest price, revision or history of these series were read."""
        self.tags.update(ids)

    def add_catalogue(self) -> None:
        """Record that coins, metadata, currencies or the set of series were read."""
        self.tags.add(CATALOGUE)

    def mark_relative(self) -> None:
        """Record that the response depends on the moment of the operation."""
        self.relative = True

    def expire_at(self, moment: datetime) -> None:
        """Record that the response changes at `moment`; the earliest such moment counts."""
        self.until = moment if self.until is None else min(self.until, moment)

    def mark_uncacheable(self) -> None:
        """Record that the response must not be cached."""
        self.uncacheable = True

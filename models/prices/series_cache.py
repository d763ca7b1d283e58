"""A cache of whole series of hours, as columns, invalidated by notifications."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np

from models.least_recently_used import LeastRecentlyUsed
from models.postgres.database import Database
from models.postgres.notifications import Listener
from models.prices.granularity import Granularity, to_datetime64
from models.prices.read import PriceWindow, SeriesColumns, WindowPrices, read_windows
from models.series import SeriesKey

MOST_HOURS = 10_000  # longer series are not cached
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_ROW_BYTES = 44
_OVERHEAD = 2_000
_MOST_REQUESTED = 10_000  # series whose first request is remembered


class _Length(Enum):
    CACHEABLE = "cacheable"
    TOO_LONG = "too long"


class SeriesCache:
    """Caches whole series by coin and currency; evicts the least recently used.

    A series that is requested twice without a change in between is read as a whole; its windows are
    then cut out of the cached columns until the listener reports a change. Nothing is cached or
    returned while the listener could miss changes, and nothing is cached if any change was reported
    while it was read. `capacity` and `size` are in bytes; a capacity of 0 turns the cache off.
    """

    def __init__(self, capacity: int, listener: Listener) -> None:
        self._listener = listener
        self._cached = LeastRecentlyUsed[SeriesKey, WindowPrices](capacity, self._dropped)
        self._keys: dict[int, SeriesKey] = {}  # of the cached series, by id
        # Series requested since their last change, and whether they are too long to be cached.
        self._requested = LeastRecentlyUsed[SeriesKey, _Length](_MOST_REQUESTED)
        self.changes = 0  # reported by the listener

    @property
    def capacity(self) -> int:
        """The largest total size of the cached series, in bytes."""
        return self._cached.capacity

    @property
    def size(self) -> int:
        """The total size of the cached series, in bytes."""
        return self._cached.size

    def find(self, window: PriceWindow, *, descending: bool) -> WindowPrices | None:
        """Return a window of a cached series; None if the series is not cached."""
        if not self._listener.listening:
            return None
        key = (window.coin_id, window.currency_code)
        cached = self._cached.get(key)
        if cached is None:
            return None
        return _part(cached, window, descending=descending)

    def to_read_whole(self, windows: Sequence[PriceWindow]) -> list[SeriesKey]:
        """Return the uncached series to read as a whole, because they were requested before."""
        if not (self.capacity and self._listener.listening):
            return []
        keys = dict.fromkeys((window.coin_id, window.currency_code) for window in windows)
        again = [key for key in keys if self._requested.get(key) is _Length.CACHEABLE]
        for key in keys:
            if key not in self._requested:
                self._requested.put(key, _Length.CACHEABLE, 1)
        return again

    def store(self, series: Sequence[WindowPrices | None], changes: int) -> None:
        """Cache whole series, unless `self.changes` has moved past `changes` since the read."""
        for each in series:
            if each is None:
                continue
            key = (each.facts.coin_id, each.facts.currency_code)
            if len(each.columns) > MOST_HOURS:
                self._requested.put(key, _Length.TOO_LONG, 1)
            elif changes == self.changes and self._listener.listening:
                self._drop(each.facts.id)
                self._keys[each.facts.id] = key
                self._cached.put(key, each, _size(each))

    def series_changed(self, series_id: int, _revision: int) -> None:
        """Remove the series from the cache."""
        self.changes += 1
        self._drop(series_id)

    def catalogue_changed(self) -> None:
        """Clear the cache."""
        self.anything_changed()

    def run_changed(self, run_id: str) -> None:
        """Do nothing: a run's progress changes no series."""

    def anything_changed(self) -> None:
        """Clear the cache."""
        self.changes += 1
        self._cached.clear()
        self._requested.clear()

    def _drop(self, series_id: int) -> None:
        key = self._keys.get(series_id)
        if key is not None:
            self._cached.pop(key)

    def _dropped(self, key: SeriesKey, series: WindowPrices) -> None:
        self._keys.pop(series.facts.id, None)
        self._requested.pop(key)


async def read_cached_windows(
    database: Database,
    cache: SeriesCache,
    windows: Sequence[PriceWindow],
    *,
    columns: frozenset[str],
    descending: bool,
) -> list[WindowPrices | None]:
    """Return what `read_windows` returns for hours, from the cache where possible.

    Uncached windows take one statement, and one more if series are read as a whole.
    """
    found = [cache.find(window, descending=descending) for window in windows]
    places = [place for place, part in enumerate(found) if part is None]
    wanted = cache.to_read_whole([windows[place] for place in places])
    if wanted:
        whole = await _read_whole(database, cache, wanted)
        for place in places:
            window = windows[place]
            if series := whole.get((window.coin_id, window.currency_code)):
                found[place] = _part(series, window, descending=descending)
        places = [place for place in places if found[place] is None]
    missing = [windows[place] for place in places]
    read = await read_windows(
        database, Granularity.HOUR, missing, columns=columns, descending=descending
    )
    for place, part in zip(places, read, strict=True):
        found[place] = part
    return found


async def _read_whole(
    database: Database, cache: SeriesCache, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, WindowPrices]:
    """Read whole series and cache them. Series that are too long are left out."""
    changes = cache.changes
    windows = [PriceWindow(*key, _FIRST, _LAST, MOST_HOURS + 1) for key in keys]
    read = await read_windows(database, Granularity.HOUR, windows)
    cache.store(read, changes)
    series = zip(keys, read, strict=True)
    return {key: each for key, each in series if each and len(each.columns) <= MOST_HOURS}


def _part(series: WindowPrices, window: PriceWindow, *, descending: bool) -> WindowPrices:
    return series._replace(columns=_cut(series.columns, window, descending=descending))


def _size(series: WindowPrices) -> int:
    return _OVERHEAD + _ROW_BYTES * len(series.columns)


def _cut(columns: SeriesColumns, window: PriceWindow, *, descending: bool) -> SeriesColumns:
    edges = [to_datetime64(window.start), to_datetime64(window.end)]
    first, last = map(int, np.searchsorted(columns.timestamps, edges))
    last = max(first, last)
    if descending:
        first = max(first, last - window.most)
        # reversed, and copied below: the JSON encoder needs contiguous arrays
        part = slice(last - 1, first - 1 if first else None, -1) if last > first else slice(0, 0)
    else:
        part = slice(first, min(last, first + window.most))
    parts: dict[str, Any] = {}
    for field in fields(columns):
        column = getattr(columns, field.name)
        parts[field.name] = None if column is None else np.ascontiguousarray(column[part])
    return SeriesColumns(**parts)

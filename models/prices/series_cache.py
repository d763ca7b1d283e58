"""Hours of the series asked for most, held in memory as columns while they are known to be true."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from models.postgres.database import Database
from models.postgres.notifications import Listener
from models.prices.granularity import Granularity, to_datetime64
from models.prices.read import PriceColumns, PriceWindow, WindowPrices, read_windows
from models.series import SeriesKey

MOST_HOURS = 10_000  # longer series are read from PostgreSQL, part by part
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, tzinfo=UTC)
_ROW_BYTES = 44
_OVERHEAD = 2_000
_MOST_ASKED = 10_000  # names of series that were asked for once


class SeriesCache:
    """Whole series by coin and currency, the least recently used dropped beyond `capacity` bytes.

    A series that is asked for again since its last change is read as a whole, and its windows are
    cut out of that until a change of it is told. Nothing is held or given while changes could go
    unheard, nor held when any change was told while it was read.
    """

    def __init__(self, capacity: int, listener: Listener) -> None:
        self.capacity = capacity
        self.size = 0
        self._listener = listener
        self._held: OrderedDict[SeriesKey, WindowPrices] = OrderedDict()
        self._keys: dict[int, SeriesKey] = {}  # of what is held, by the series' id
        # Since their last change; False: too long to be held.
        self._asked: OrderedDict[SeriesKey, bool] = OrderedDict()
        self.changes = 0  # how many have been told

    def find(self, window: PriceWindow, *, descending: bool) -> WindowPrices | None:
        """Cut a window out of what is held; None where the series is not."""
        if not self._listener.listening:
            return None
        key = (window.coin_id, window.currency_code)
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return _part(held, window, descending=descending)

    def wants(self, windows: Sequence[PriceWindow]) -> list[SeriesKey]:
        """Of series that are not held, name those to read as a whole: asked for once already."""
        if not (self.capacity and self._listener.listening):
            return []
        keys = dict.fromkeys((window.coin_id, window.currency_code) for window in windows)
        again = [key for key in keys if self._asked.get(key)]
        self._asked |= {key: True for key in keys if key not in self._asked}
        while len(self._asked) > _MOST_ASKED:
            self._asked.popitem(last=False)
        return again

    def hold(self, series: Sequence[WindowPrices | None], changes: int) -> None:
        """Keep whole series that were read when so many changes had been told."""
        for each in series:
            if each is None:
                continue
            key = (each.facts.coin_id, each.facts.currency_code)
            if len(each.columns) > MOST_HOURS:
                self._asked[key] = False
            elif changes == self.changes and self._listener.listening:
                self._drop(each.facts.id)
                self._held[key], self._keys[each.facts.id] = each, key
                self.size += _size(each)
        while self.size > self.capacity:
            self._drop(next(iter(self._held.values())).facts.id)

    def series_changed(self, series_id: int, _revision: int) -> None:
        self.changes += 1
        self._drop(series_id)

    def catalogue_changed(self) -> None:
        self.anything_changed()

    def run_changed(self, run_id: str) -> None:
        """No series has changed with it."""

    def anything_changed(self) -> None:
        self.changes += 1
        self._held.clear()
        self._keys.clear()
        self._asked.clear()
        self.size = 0

    def _drop(self, series_id: int) -> None:
        key = self._keys.pop(series_id, None)
        if key is not None:
            self.size -= _size(self._held.pop(key))
            self._asked.pop(key, None)


async def read_cached_windows(
    database: Database,
    memory: SeriesCache,
    windows: Sequence[PriceWindow],
    *,
    columns: frozenset[str],
    descending: bool,
) -> list[WindowPrices | None]:
    """Give what `read_windows` gives of hours, from memory as far as that goes.

    What is missing takes one statement; one more where series are read as a whole.
    """
    found = [memory.find(window, descending=descending) for window in windows]
    places = [place for place, part in enumerate(found) if part is None]
    wanted = memory.wants([windows[place] for place in places])
    if wanted:
        whole = await _read_whole(database, memory, wanted)
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
    database: Database, memory: SeriesCache, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, WindowPrices]:
    """Read whole series and hold them; without those that are too long."""
    changes = memory.changes
    windows = [PriceWindow(*key, _FIRST, _LAST, MOST_HOURS + 1) for key in keys]
    read = await read_windows(database, Granularity.HOUR, windows)
    memory.hold(read, changes)
    series = zip(keys, read, strict=True)
    return {key: each for key, each in series if each and len(each.columns) <= MOST_HOURS}


def _part(series: WindowPrices, window: PriceWindow, *, descending: bool) -> WindowPrices:
    return series._replace(columns=_cut(series.columns, window, descending=descending))


def _size(series: WindowPrices) -> int:
    return _OVERHEAD + _ROW_BYTES * len(series.columns)


def _cut(columns: PriceColumns, window: PriceWindow, *, descending: bool) -> PriceColumns:
    edges = [to_datetime64(window.start), to_datetime64(window.end)]
    first, last = map(int, np.searchsorted(columns.timestamps, edges))
    last = max(first, last)
    if descending:
        first = max(first, last - window.most)
        # backwards, and a copy: what is written as JSON at once lies in one piece
        part = slice(last - 1, first - 1 if first else None, -1) if last > first else slice(0, 0)
    else:
        part = slice(first, min(last, first + window.most))
    parts: dict[str, Any] = {}
    for field in fields(columns):
        column = getattr(columns, field.name)
        parts[field.name] = None if column is None else np.ascontiguousarray(column[part])
    return PriceColumns(**parts)

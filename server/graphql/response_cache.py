"""The response cache: answers to queries, dropped when something that they were made of changes."""

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from time import time

from models.postgres.notifications import Listener
from resolvers.cache_dependencies import CATALOGUE, Tag
from server.graphql.response import EncodedResponse

Key = tuple[str, str | None, bytes]
"""A query's text, the operation's name, and its variables as JSON with sorted keys. Who asks is no
part of it: answers that not everybody may see are not kept at all."""

Compute = Callable[[], Awaitable[EncodedResponse]]

HIT, MISS, BYPASS = b"HIT", b"MISS", b"BYPASS"

_SMALLEST_SHARE = 8  # of all room: a larger answer would push out too many others
_OVERHEAD = 1_500  # bytes that Python takes for an answer and its key besides their contents
_TAG_OVERHEAD = 100
_MOST_TAGS = 200_000


class Flight:
    """A computation that is under way. `since` counts the changes told before it began.

    `unchanged`, once it has landed: nothing that the reply was made of was told to have changed
    meanwhile.
    """

    __slots__ = ("_done", "_response", "since", "unchanged")

    def __init__(self, since: int) -> None:
        self._done = asyncio.Event()
        self._response: EncodedResponse | None = None
        self.since = since
        self.unchanged = False

    def finish(self, response: EncodedResponse | None, *, unchanged: bool = False) -> None:
        """Give the reply to those who wait. None where there is none."""
        self._response = response
        self.unchanged = unchanged
        self._done.set()

    async def wait(self) -> EncodedResponse | None:
        await self._done.wait()
        return self._response


class _Entry:
    """An answer, and up to which change it was found to be unchanged."""

    __slots__ = ("response", "since")

    def __init__(self, response: EncodedResponse, since: int) -> None:
        self.response = response
        self.since = since


class ResponseCache:
    """Answers by their `Key`, the least recently used ones dropped when `capacity` is passed.

    `capacity` is in bytes; 0 keeps nothing. An answer is given only if nothing that it was made of
    has been told to have changed since its computation began; and nothing is kept or given while
    changes could go unheard. Changes are counted: to hear of one costs the same however much is
    kept, and what it made old makes room as the least recently used does.
    """

    def __init__(self, capacity: int, listener: Listener) -> None:
        self.capacity = capacity
        self.size = 0
        self._listener = listener
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._flights: dict[Key, Flight] = {}  # those that one may still join
        self._changes = 0
        self._changed: dict[Tag, int] = {}  # by tag, the number of its last change
        self._all_changed = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def usable(self) -> bool:
        return self.capacity > 0 and self._listener.listening

    def get(self, key: Key) -> EncodedResponse | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        response = entry.response
        if entry.since != self._changes:
            if not self._unchanged(response, entry.since):
                self._remove(key)
                return None
            entry.since = self._changes
        if response.cacheable_until <= time():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return response

    async def compute(self, key: Key, compute: Compute) -> tuple[EncodedResponse, bytes]:
        """Compute an answer that is not kept, once for all who ask meanwhile; and say how.

        Who joined a flight of an answer that has changed since it began, or that was over before
        they asked, waits for one more, which one of them leads: that one began after all of them
        had asked, so it is theirs whatever changes during it. Where a leader fails or goes, the
        next one leads.
        """
        asked, began_later = time(), False
        while (flight := self._flights.get(key)) is not None:
            response = await flight.wait()
            if response is not None:
                if response.footprint.untold:  # for the one who asked alone
                    return await compute(), MISS
                if began_later or (flight.unchanged and response.cacheable_until > asked):
                    return response, HIT
            began_later = True  # from here on: others are under way only since this one landed
            if (entry := self.get(key)) is not None:
                return entry, HIT
        return await self._lead(key, compute), MISS

    async def _lead(self, key: Key, compute: Compute) -> EncodedResponse:
        flight = self._flights[key] = Flight(self._changes)
        response, unchanged = None, False
        try:
            response = await compute()
            # what a failure would have read if it had gone on is not known
            unchanged = flight.since == self._changes or (
                response.ok and self._unchanged(response, flight.since)
            )
            self._store(key, response, flight.since)
            return response
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.finish(response, unchanged=unchanged)

    async def catch_up(self) -> None:
        """Return when every change that was committed before this call has been heard."""
        await self._listener.catch_up()

    def series_changed(self, series_id: int, _revision: int) -> None:
        self._note(series_id)

    def catalogue_changed(self) -> None:
        self._note(CATALOGUE)

    def run_changed(self, run_id: str) -> None:
        """Answers about runs are not kept."""

    def anything_changed(self) -> None:
        self._changes += 1
        self._all_changed = self._changes
        self._changed.clear()
        self._flights.clear()
        for entry in self._entries.values():
            entry.response.body.on_growth = None
        self._entries.clear()
        self.size = 0

    def _note(self, tag: Tag) -> None:
        self._changes += 1
        self._changed[tag] = self._changes
        if len(self._changed) > _MOST_TAGS:  # more than there are series: somebody makes them up
            self.anything_changed()

    def _unchanged(self, response: EncodedResponse, since: int) -> bool:
        if self._all_changed > since:
            return False
        changed = self._changed
        return all(changed.get(tag, 0) <= since for tag in response.footprint.tags)

    def _store(self, key: Key, response: EncodedResponse, since: int) -> None:
        if not (self.usable and response.ok) or response.footprint.untold:
            return
        size = _size(key, response)
        if size > self.capacity // _SMALLEST_SHARE or not self._unchanged(response, since):
            return
        self._remove(key)
        self._entries[key] = _Entry(response, self._changes)
        response.body.on_growth = self._grow
        self._grow(size)

    def _grow(self, by: int) -> None:
        self.size += by
        while self.size > self.capacity:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= _size(key, entry.response)
            entry.response.body.on_growth = None


def _size(key: Key, response: EncodedResponse) -> int:
    """Estimate the memory of an answer that is kept, its key and what it depends on included."""
    keys = sys.getsizeof(key[0]) + len(key[1] or "") + len(key[2])
    return _OVERHEAD + keys + response.body.size + _TAG_OVERHEAD * len(response.footprint.tags)

"""The response cache: query responses, invalidated when the data that they depend on changes."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from time import time

from models.least_recently_used import LeastRecentlyUsed
from models.postgres.notifications import Listener
from resolvers.cache_dependencies import CATALOGUE, Tag
from server.graphql.response import EncodedResponse

Key = tuple[str, str | None, bytes]
"""A query's text, the operation's name, and its variables as JSON with sorted keys. The caller is
not a part of it: private responses are never cached."""

Compute = Callable[[], Awaitable[EncodedResponse]]

HIT, MISS, BYPASS = b"HIT", b"MISS", b"BYPASS"

_SMALLEST_SHARE = 8  # a response larger than capacity / 8 would evict too many others
_OVERHEAD = 1_500  # bytes of the Python objects of an entry, without their contents
_TAG_OVERHEAD = 100
_MOST_TAGS = 200_000


class Flight:
    """A computation in progress, which equal queries share.

    `since`: the number of notified changes when it began. `unchanged`, after it has finished: no
    dependency of the response changed in the meantime.
    """

    __slots__ = ("_done", "_response", "since", "unchanged")

    def __init__(self, since: int) -> None:
        self._done = asyncio.Event()
        self._response: EncodedResponse | None = None
        self.since = since
        self.unchanged = False

    def finish(self, response: EncodedResponse | None, *, unchanged: bool = False) -> None:
        """Pass the response to the waiters; None if the computation failed."""
        self._response = response
        self.unchanged = unchanged
        self._done.set()

    async def wait(self) -> EncodedResponse | None:
        """Wait for the computation; None if it failed."""
        await self._done.wait()
        return self._response


class _Entry:
    """A cached response, and the number of the last change that it was checked against."""

    __slots__ = ("response", "since")

    def __init__(self, response: EncodedResponse, since: int) -> None:
        self.response = response
        self.since = since


class ResponseCache:
    """An LRU cache of responses by `Key`, with single-flight computation.

    `capacity` is in bytes; 0 disables the cache. A response is served only if no dependency of it
    changed since its computation began. The cache stores and serves nothing while the listener may
    miss notifications. Changes are numbered: a notification costs O(1), and an invalidated entry is
    evicted when it is looked up or becomes the least recently used one.
    """

    def __init__(self, capacity: int, listener: Listener) -> None:
        self._listener = listener
        self._entries = LeastRecentlyUsed[Key, _Entry](capacity, _stop_counting)
        self._flights: dict[Key, Flight] = {}  # those that may still be joined
        self._changes = 0
        self._changed: dict[Tag, int] = {}  # by tag, the number of its last change
        self._all_changed = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def capacity(self) -> int:
        """The largest total size of the responses, in bytes."""
        return self._entries.capacity

    @property
    def size(self) -> int:
        """The total size of the responses, in bytes."""
        return self._entries.size

    @property
    def usable(self) -> bool:
        """True if the cache is enabled and the listener receives notifications."""
        return self._entries.capacity > 0 and self._listener.listening

    def get(self, key: Key) -> EncodedResponse | None:
        """Return the valid response cached for `key`, else None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        response = entry.response
        if entry.since != self._changes:
            if not self._unchanged(response, entry.since):
                self._entries.pop(key)
                return None
            entry.since = self._changes
        if response.cacheable_until <= time():
            self._entries.pop(key)
            return None
        return response

    async def compute(self, key: Key, compute: Compute) -> tuple[EncodedResponse, bytes]:
        """Compute the response for `key`; return it with HIT or MISS, for X-Cache.

        Single-flight: equal queries wait for the one in progress. If its response was invalidated
        meanwhile, or expired before they asked, the waiters share one new computation, which one of
        them leads. That one began after all of them asked, so it is valid for them even if a
        dependency changes during it. If a leader fails or is cancelled, the next waiter leads.
        """
        asked, began_later = time(), False
        while (flight := self._flights.get(key)) is not None:
            response = await flight.wait()
            if response is not None:
                if response.dependencies.uncacheable:  # uncacheable: for its own caller only
                    return await compute(), MISS
                if began_later or (flight.unchanged and response.cacheable_until > asked):
                    return response, HIT
            began_later = True  # every later flight began after this one finished
            if (entry := self.get(key)) is not None:
                return entry, HIT
        return await self._lead(key, compute), MISS

    async def _lead(self, key: Key, compute: Compute) -> EncodedResponse:
        flight = self._flights[key] = Flight(self._changes)
        response, unchanged = None, False
        try:
            response = await compute()
            # the dependencies of a failed computation are incomplete
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
        """Return once every change committed before this call has been processed."""
        await self._listener.catch_up()

    def series_changed(self, series_id: int, _revision: int) -> None:
        """Invalidate the responses that depend on a series."""
        self._note(series_id)

    def catalogue_changed(self) -> None:
        """Invalidate the responses that depend on the lists of coins, currencies or series."""
        self._note(CATALOGUE)

    def run_changed(self, run_id: str) -> None:
        """Do nothing: responses about runs are not cached."""

    def anything_changed(self) -> None:
        """Drop all entries, because notifications may have been missed."""
        self._changes += 1
        self._all_changed = self._changes
        self._changed.clear()
        self._flights.clear()
        self._entries.clear()

    def _note(self, tag: Tag) -> None:
        self._changes += 1
        self._changed[tag] = self._changes
        if len(self._changed) > _MOST_TAGS:  # more than there are series: the ids are forged
            self.anything_changed()

    def _unchanged(self, response: EncodedResponse, since: int) -> bool:
        if self._all_changed > since:
            return False
        changed = self._changed
        return all(changed.get(tag, 0) <= since for tag in response.dependencies.tags)

    def _store(self, key: Key, response: EncodedResponse, since: int) -> None:
        if not (self.usable and response.ok) or response.dependencies.uncacheable:
            return
        size = _size(key, response)
        if size > self.capacity // _SMALLEST_SHARE or not self._unchanged(response, since):
            return
        self._entries.put(key, _Entry(response, self._changes), size)
        response.body.on_growth = partial(self._entries.grow, key)


def _stop_counting(_key: Key, entry: _Entry) -> None:
    entry.response.body.on_growth = None


def _size(key: Key, response: EncodedResponse) -> int:
    """Estimate the memory of an entry in bytes: the response, its key and its dependencies."""
    keys = sys.getsizeof(key[0]) + len(key[1] or "") + len(key[2])
    return _OVERHEAD + keys + response.body.size + _TAG_OVERHEAD * len(response.dependencies.tags)

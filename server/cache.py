"""The response cache: answers to queries, dropped when something that they were made of changes."""

import asyncio
import sys
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from time import time

from models.notifications import Listener
from resolvers.footprint import CATALOGUE, Tag
from server.replies import Reply

Key = tuple[str, str | None, bytes]
"""A query's text, the operation's name, and its variables as JSON with sorted keys. Who asks is no
part of it: answers that not everybody may see are not kept at all."""

Compute = Callable[[], Awaitable[Reply]]

HIT, MISS, BYPASS = b"HIT", b"MISS", b"BYPASS"

_SMALLEST_SHARE = 8  # of all room: a larger answer would push out too many others
_OVERHEAD = 1_500  # bytes that Python takes for an answer and its key besides their contents
_TAG_OVERHEAD = 150


class Flight:
    """A computation that is under way, and what has changed since it began."""

    __slots__ = ("_landed", "changed", "deaf", "reply")

    def __init__(self) -> None:
        self._landed = asyncio.Event()
        self.changed: set[Tag] = set()
        self.deaf = False
        self.reply: Reply | None = None

    def land(self, reply: Reply | None) -> None:
        """Give the reply to those who wait. None where it must not be shared."""
        self.reply = reply
        self._landed.set()

    async def wait(self) -> Reply | None:
        await self._landed.wait()
        return self.reply


class AnswerCache:
    """Answers by their `Key`, the least recently used ones dropped when `capacity` is passed.

    `capacity` is in bytes; 0 keeps nothing. An answer is kept only if nothing that it was made of
    has been told to have changed since its computation began; and nothing is kept or given while
    changes could go unheard.
    """

    def __init__(self, capacity: int, listener: Listener) -> None:
        self.capacity = capacity
        self.size = 0
        self._listener = listener
        self._kept: OrderedDict[Key, Reply] = OrderedDict()
        self._by_tag: defaultdict[Tag, set[Key]] = defaultdict(set)
        self._flights: dict[Key, Flight] = {}  # those that one may still join
        self._under_way: set[Flight] = set()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def usable(self) -> bool:
        return self.capacity > 0 and self._listener.listening

    def get(self, key: Key) -> Reply | None:
        reply = self._kept.get(key)
        if reply is None:
            return None
        if reply.kept_until <= time():
            self._remove(key)
            return None
        self._kept.move_to_end(key)
        return reply

    async def compute(self, key: Key, compute: Compute) -> tuple[Reply, bytes]:
        """Compute an answer that is not kept, once for all who ask meanwhile; and say how."""
        flight = self._flights.get(key)
        if flight is None:
            return await self._lead(key, compute), MISS
        reply = await flight.wait()
        if reply is not None:
            return reply, HIT
        return await compute(), MISS  # what came of it was not for sharing

    async def _lead(self, key: Key, compute: Compute) -> Reply:
        flight = self._flights[key] = Flight()
        self._under_way.add(flight)
        shared = None
        try:
            reply = await compute()
            footprint = reply.footprint
            if not (footprint.untold or flight.deaf or flight.changed):
                shared = reply
            if not flight.deaf and flight.changed.isdisjoint(footprint.tags):
                self._keep(key, reply)
            return reply
        finally:
            self._under_way.discard(flight)
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.land(shared)

    async def settle(self) -> None:
        """Return when everything has been dropped that was changed before this call."""
        await self._listener.catch_up()

    def series_changed(self, series_id: int, _revision: int) -> None:
        self._drop(series_id)

    def catalogue_changed(self) -> None:
        self._drop(CATALOGUE)

    def anything_changed(self) -> None:
        while self._kept:
            self._remove(next(iter(self._kept)))
        self._flights.clear()
        for flight in self._under_way:
            flight.deaf = True

    def _drop(self, tag: Tag) -> None:
        for key in tuple(self._by_tag.get(tag, ())):
            self._remove(key)
        # What a computation will turn out to have read is not known yet: nobody joins it any more.
        self._flights.clear()
        for flight in self._under_way:
            flight.changed.add(tag)

    def _keep(self, key: Key, reply: Reply) -> None:
        if not (self.usable and reply.ok) or reply.footprint.untold:
            return
        if _size(key, reply) > self.capacity // _SMALLEST_SHARE:
            return
        self._remove(key)
        self._kept[key] = reply
        for tag in reply.footprint.tags:
            self._by_tag[tag].add(key)
        reply.body.grown = self._grow
        self._grow(_size(key, reply))

    def _grow(self, by: int) -> None:
        self.size += by
        while self.size > self.capacity:
            self._remove(next(iter(self._kept)))

    def _remove(self, key: Key) -> None:
        reply = self._kept.pop(key, None)
        if reply is None:
            return
        self.size -= _size(key, reply)
        reply.body.grown = None
        for tag in reply.footprint.tags:
            keys = self._by_tag[tag]
            keys.discard(key)
            if not keys:
                del self._by_tag[tag]


def _size(key: Key, reply: Reply) -> int:
    """Estimate the memory of an answer that is kept, its key and its tags included."""
    keys = sys.getsizeof(key[0]) + len(key[1] or "") + len(key[2])
    return _OVERHEAD + keys + reply.body.size + _TAG_OVERHEAD * len(reply.footprint.tags)

"""Queues in which callers take turns, however many places each of them wants."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from resolvers.errors import UnavailableError

_Place = tuple[int, asyncio.Future[None]]


class FairQueue:
    """Lets work begin while its sizes fit in `room`, and at least one piece of work in any case.

    Where more wants to begin, callers come one after the other, each with what it asked for first.
    A caller may have `most` waiting.
    """

    def __init__(self, room: int, most: int, refusal: str) -> None:
        self._room = room
        self._most = most
        self._refusal = refusal
        self._used = 0
        self._waiting: OrderedDict[str, deque[_Place]] = OrderedDict()

    @asynccontextmanager
    async def place(self, caller: str, size: int) -> AsyncIterator[None]:
        """Do the block when it is its turn. Raises UnavailableError where too much waits."""
        await self._enter(caller, size)
        try:
            yield
        finally:
            self._leave(caller, size)

    async def _enter(self, caller: str, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._used += size
            return
        places = self._waiting.setdefault(caller, deque())
        if len(places) >= self._most:
            raise UnavailableError(self._refusal)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        places.append((size, begun))
        try:
            await begun
        except asyncio.CancelledError:
            if begun.done() and not begun.cancelled():  # it was let in, and nobody comes
                self._leave(caller, size)
            raise

    def _fits(self, size: int) -> bool:
        return not self._used or self._used + size <= self._room

    def _leave(self, caller: str, size: int) -> None:
        self._used -= size
        if caller in self._waiting:
            self._waiting.move_to_end(caller)  # whoever came meanwhile comes first
        while self._waiting:
            caller, places = next(iter(self._waiting.items()))
            wanted, begun = places[0]
            if not begun.done():
                if not self._fits(wanted):
                    return
                self._used += wanted
                begun.set_result(None)
            places.popleft()
            if places:
                self._waiting.move_to_end(caller)
            else:
                del self._waiting[caller]

"""How much of one caller's responses a turn of the event loop writes.

The kernel takes megabytes of a response without waiting for the client. If hundreds of large
responses of one caller are ready at once, writing them would hold the event loop for seconds.
"""

import asyncio
from collections import deque
from weakref import WeakKeyDictionary

BYTES_PER_TURN = 1 << 22  # of one caller: written in four to sixteen milliseconds


class WriteTurns:
    """Bounds the bytes that each caller writes in one turn of an event loop.

    A turn ends when everything that was ready at its start has run.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._written: dict[str, int] = {}  # in this turn
        self._waiting: dict[str, deque[tuple[asyncio.Future[None], int]]] = {}
        self._scheduled = False

    async def take(self, caller: str, size: int) -> None:
        """Return in a turn in which `caller` may write `size` bytes."""
        written = self._written.get(caller, 0)
        if written < BYTES_PER_TURN and caller not in self._waiting:
            self._written[caller] = written + size
            self._schedule()
            return
        granted: asyncio.Future[None] = self._loop.create_future()
        self._waiting.setdefault(caller, deque()).append((granted, size))
        self._schedule()
        await granted

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        self._written.clear()
        for caller, waiting in tuple(self._waiting.items()):
            written = 0
            while waiting and written < BYTES_PER_TURN:
                granted, size = waiting.popleft()
                if not granted.done():  # done if it was cancelled
                    granted.set_result(None)
                    written += size
            self._written[caller] = written
            if not waiting:
                del self._waiting[caller]
        if self._written:
            self._schedule()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, WriteTurns] = WeakKeyDictionary()


async def write_turn(caller: str, size: int) -> None:
    """Return when `caller` may write `size` bytes, without suspending if that is now."""
    loop = asyncio.get_running_loop()
    turns = _turns.get(loop)
    if turns is None:
        turns = _turns[loop] = WriteTurns(loop)
    await turns.take(caller, size)

"""Turns of the event loop: no operation keeps it for long while others wait.

Work that could take a while is done in pieces, and asks before each whether the turn has room left.
If not, it waits. Each turn belongs to one of the operations that wait, one after the other.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter, thread_time
from typing import Any
from weakref import WeakKeyDictionary

_SLICE = 0.01  # seconds: when so much of a turn is used up, what comes next waits
_FREE = 0.005  # seconds of an operation's work that never wait: most need no more
_WOKEN = 16  # pieces of an operation that are woken for its turn; for the last there may be no room


class Turns:
    """One event loop's turns. A turn is over when all that was ready has run once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: OrderedDict[Turn, deque[asyncio.Future[bool]]] = OrderedDict()
        self._scheduled = False
        self._begun = False
        self._cpu = self._mark = 0.0
        self._last: Turn | None = None
        self.room_until = 0.0  # by the clock; later than that, `has_room` can tell

    def has_room(self, turn: "Turn", now: float) -> bool:
        """Tell whether an operation may do its next piece, when the clock says that it may not."""
        if not self._begun:
            self._begun, self._cpu, self.room_until = True, thread_time(), now + _SLICE
            self._schedule()
            return True
        if self._last is turn:
            turn.overtime += now - self._mark
        self._last, self._mark = turn, now
        # CPU is asked for last, because that takes ten times as long: a machine that lets others
        # run meanwhile has not let us use up our turn
        return turn.overtime < _FREE or thread_time() - self._cpu < _SLICE

    async def wait(self, turn: "Turn") -> None:
        """Return in a turn of the loop that has room."""
        granted = False
        while not granted:
            woken: asyncio.Future[bool] = self.loop.create_future()
            self._waiting.setdefault(turn, deque()).append(woken)
            self._schedule()
            granted = await woken or turn.has_room()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._next)

    def _next(self) -> None:
        """Begin a turn, which belongs to the operation that has waited longest for one."""
        self._begun = self._scheduled = False
        self._last, self.room_until = None, 0.0
        if not self._waiting:
            return
        turn, futures = self._waiting.popitem(last=False)
        granted = True  # in any case the first piece, so that nobody starves
        for _ in range(min(_WOKEN, len(futures))):
            woken = futures.popleft()
            if not woken.done():  # or it was cancelled
                woken.set_result(granted)
                granted = False
        if futures:
            self._waiting[turn] = futures  # behind all others
        self._schedule()


class Turn:
    """One operation's share of the turns."""

    __slots__ = ("_settled", "_turns", "_waiting", "overtime")

    def __init__(self) -> None:
        self._turns = _turns_of(asyncio.get_running_loop())
        self.overtime = 0.0  # seconds of work in turns that were used up
        self._waiting = 0
        self._settled: list[Callable[[], object]] = []

    def has_room(self) -> bool:
        """Tell whether the next piece may be done at once."""
        now = perf_counter()
        return now < self._turns.room_until or self._turns.has_room(self, now)

    async def wait(self) -> None:
        """Return when the next piece may be done."""
        self._waiting += 1
        try:
            await self._turns.wait(self)
        finally:
            self._waiting -= 1
            if not self._waiting and self._settled:
                settled, self._settled = self._settled, []
                for callback in settled:
                    self._turns.loop.call_soon(callback)

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Call when nothing of the operation waits for its turn any more; never at once."""
        self._turns.loop.call_soon(self._call_or_wait, callback)

    def _call_or_wait(self, callback: Callable[[], object]) -> None:
        if self._waiting:
            self._settled.append(callback)
        else:
            callback()


class PatientLoop:
    """The event loop for the loaders of an operation.

    A batch, which would be sent soon, waits until all that is ready has begun and has asked for
    what it needs: however many turns that takes, it is one batch.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._turn = current_turn()

    def call_soon(self, callback: Callable[[], object]) -> None:
        self._turn.when_settled(callback)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the loop has
        return getattr(self._loop, name)


_all: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()
_current: ContextVar[Turn | None] = ContextVar("turn", default=None)


def _turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    turns = _all.get(loop)
    if turns is None:
        turns = _all[loop] = Turns(loop)
    return turns


def begin_operation() -> None:
    """Give an operation its share; all that it starts from here on counts for it."""
    _current.set(Turn())


def current_turn() -> Turn:
    """Give the operation's share, or one of its own to whoever is part of none."""
    return _current.get() or Turn()


async def breathe() -> None:
    """Come back at once where the operation's turn has room left, else when it has again.

    Without an operation: as long as others have theirs.
    """
    turn = _current.get()
    if turn is None:
        await asyncio.sleep(0)
    elif not turn.has_room():
        await turn.wait()

"""Cooperative scheduling: no operation holds the event loop for long while others wait.

Long work is split into pieces. Before each piece, the operation asks whether the current turn of
the event loop has time left; if not, it waits for a turn of its own. A turn is one iteration of the
event loop. Waiting callers are served in rotation, and so are the operations of each:
docs/decisions/0021-cooperative-scheduling.md
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter, thread_time
from typing import Any
from weakref import WeakKeyDictionary

_SLICE = 0.01  # seconds of CPU of a turn, after which further pieces wait
_FREE = 0.005  # seconds of overtime that an operation may work without waiting: most need less
_WAKE_UPS = 16  # waiting pieces that a turn wakes; the last may find no time left and wait again


_Waiting = OrderedDict["EventLoopShare", deque[asyncio.Future[bool]]]


class CooperativeScheduler:
    """The scheduler of one event loop.

    A turn ends when everything that was ready at its start has run once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()  # by caller
        self._scheduled = False
        self._begun = False
        self._cpu = self._mark = 0.0
        self._last: EventLoopShare | None = None
        self.room_until = 0.0  # by the clock; after it, ask `has_room`

    def has_room(self, share: "EventLoopShare", now: float) -> bool:
        """Return True if the operation of `share` may run its next piece now.

        Callers ask only after `room_until`, when the clock alone no longer grants it.
        """
        if not self._begun:
            self._begun, self._cpu, self.room_until = True, thread_time(), now + _SLICE
            self._schedule()
            return True
        if self._last is share:
            share.overtime += now - self._mark
        self._last, self._mark = share, now
        # Read the CPU time last, which takes ten times as long as the clock. While other processes
        # run on this processor, the clock advances but the turn's CPU time does not.
        return share.overtime < _FREE or thread_time() - self._cpu < _SLICE

    async def wait(self, share: "EventLoopShare") -> None:
        """Return in a turn that has time left for the operation of `share`."""
        granted = False
        while not granted:
            woken: asyncio.Future[bool] = self.loop.create_future()
            of_caller = self._waiting.setdefault(share.caller, OrderedDict())
            of_caller.setdefault(share, deque()).append(woken)
            self._schedule()
            granted = await woken or share.has_room()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._next)

    def _next(self) -> None:
        """Start a turn and give it to the caller that has waited longest, and its operation."""
        self._begun = self._scheduled = False
        self._last, self.room_until = None, 0.0
        if not self._waiting:
            return
        caller, shares = self._waiting.popitem(last=False)
        share, futures = shares.popitem(last=False)
        granted = True  # the first piece always runs, so no operation starves
        for _ in range(min(_WAKE_UPS, len(futures))):
            woken = futures.popleft()
            if not woken.done():  # done if it was cancelled
                woken.set_result(granted)
                granted = False
        if futures:
            shares[share] = futures  # at the end of the rotation
        if shares:
            self._waiting[caller] = shares
        self._schedule()


class EventLoopShare:
    """The share of one operation in the turns of its event loop.

    `caller` sent the operation. `overtime` is the time in seconds that the operation has worked in
    turns whose time was used up.
    """

    __slots__ = ("_scheduler", "_settled", "_waiting", "caller", "overtime")

    def __init__(self, caller: str = "") -> None:
        self.caller = caller
        self._scheduler = _scheduler_of(asyncio.get_running_loop())
        self.overtime = 0.0  # seconds
        self._waiting = 0
        self._settled: list[Callable[[], object]] = []

    def has_room(self) -> bool:
        """Return True if the operation may run its next piece now."""
        now = perf_counter()
        return now < self._scheduler.room_until or self._scheduler.has_room(self, now)

    async def wait(self) -> None:
        """Return when the operation may run its next piece."""
        self._waiting += 1
        try:
            await self._scheduler.wait(self)
        finally:
            self._waiting -= 1
            if not self._waiting and self._settled:
                settled, self._settled = self._settled, []
                for callback in settled:
                    self._scheduler.loop.call_soon(callback)

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Call `callback` once no piece of the operation waits for a turn.

        Never calls it immediately, but in a later turn.
        """
        self._scheduler.loop.call_soon(self._call_or_wait, callback)

    def _call_or_wait(self, callback: Callable[[], object]) -> None:
        if self._waiting:
            self._settled.append(callback)
        else:
            callback()


class LoaderLoop:
    """The event loop as the DataLoaders of one operation see it.

    A DataLoader dispatches its batch with `call_soon`. Here that call waits until every piece of
    the operation that was ready has run and has requested its keys. The keys form one batch,
    however many turns that takes.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._share = current_share()

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` once no piece of the operation waits for a turn."""
        self._share.when_settled(callback)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of the loop
        return getattr(self._loop, name)


_schedulers: WeakKeyDictionary[asyncio.AbstractEventLoop, CooperativeScheduler] = (
    WeakKeyDictionary()
)
_current: ContextVar[EventLoopShare | None] = ContextVar("event_loop_share", default=None)


def _scheduler_of(loop: asyncio.AbstractEventLoop) -> CooperativeScheduler:
    scheduler = _schedulers.get(loop)
    if scheduler is None:
        scheduler = _schedulers[loop] = CooperativeScheduler(loop)
    return scheduler


def begin_operation(caller: str = "") -> None:
    """Give the current task and the tasks it starts a new share: one operation of `caller`."""
    _current.set(EventLoopShare(caller))


def is_in_operation() -> bool:
    """Return True if the current task works for an operation."""
    return _current.get() is not None


def current_share() -> EventLoopShare:
    """Return the share of the current operation; a new one outside of operations."""
    return _current.get() or EventLoopShare()


def turn_has_room() -> bool:
    """Return True if the current turn has time left, for work before an operation begins."""
    share = EventLoopShare()
    share.overtime = _FREE  # none: hundreds of requests can be ready in one turn
    return share.has_room()


async def yield_to_event_loop() -> None:
    """Return at once if the operation may run its next piece, otherwise when it may.

    Outside of operations, yields for one turn.
    """
    share = _current.get()
    if share is None:
        await asyncio.sleep(0)
    elif not share.has_room():
        await share.wait()

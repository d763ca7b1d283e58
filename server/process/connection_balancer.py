"""Deals the listeners' connections out: each to the worker that has the fewest.

docs/decisions/0005-parent-process-distributes-connections.md has the measurements behind this.
"""

import asyncio
import contextlib
import itertools
import socket
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from server.process.control_protocol import CONNECTION, GONE, READY, TAKEN

log = structlog.get_logger("coingraph.workers")

_UNCONFIRMED = 16  # connections on their way to one worker: it has a moment to take them
_PAUSE_SECONDS = 1.0
SILENCE_SECONDS = 30.0  # a worker says every second that it is alive
_WAITS = 3


class _Seat:
    """A worker as the dealer knows it."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.unconfirmed: deque[socket.socket] = deque()
        self.connections = 0  # these included


class Dealer:
    """Accepts connections whenever a worker has room for one; else they wait in the kernel.

    A connection is kept until its worker has confirmed it, and dealt anew when the worker dies
    before. (macOS also wants a descriptor kept open until it has arrived.) Nothing is dealt before
    each of the first `workers` is ready or has failed, or the first one would get all who wait.
    """

    def __init__(self, listeners: Sequence[socket.socket], workers: int) -> None:
        for listener in listeners:
            listener.setblocking(False)
        self._listeners = tuple(listeners)
        self._awaited = workers
        self._seats: deque[_Seat] = deque()  # of equals, the one whose turn it is comes first
        self._waiting: deque[socket.socket] = deque()
        self._closed = False

    async def deal_to(
        self, control: socket.socket, on_ready: Callable[[], None], on_silence: Callable[[], None]
    ) -> None:
        """Deal to the worker at the other end, from its first word until it takes no more.

        Call `on_silence`, again and again, while it does not even say that it is alive.
        """
        seat = _Seat(control)
        try:
            ready = await self._word(control, len(READY))
            self._awaited -= 1
            if ready:
                on_ready()
                self._seats.append(seat)
                self._deal()
            while told := await self._next_words(control, on_silence):
                for _ in range(told.count(TAKEN)):
                    seat.unconfirmed.popleft().close()
                seat.connections -= told.count(GONE)
                self._deal()
        finally:
            if seat in self._seats:
                self._seats.remove(seat)
            self._waiting.extend(seat.unconfirmed)
            self._deal()

    def close(self) -> None:
        """Refuse new connections from now on."""
        if not self._closed:
            self._closed = True
            self._pause()
            for listener in self._listeners:
                listener.close()
            self._deal()

    async def _next_words(self, control: socket.socket, on_silence: Callable[[], None]) -> bytes:
        # by several waits: after all of us were suspended, one of them is over at once
        for waits in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_SECONDS / _WAITS):
                    return await self._word(control)
            if waits % _WAITS == 0:
                on_silence()
        return b""

    async def _word(self, control: socket.socket, most: int = 4096) -> bytes:
        with contextlib.suppress(OSError):
            return await asyncio.get_running_loop().sock_recv(control, most)
        return b""

    def _deal(self) -> None:
        if self._closed:
            while self._waiting:
                self._waiting.popleft().close()
        if self._closed or self._awaited > 0:
            return
        while self._waiting and (seat := self._next()):
            self._hand(self._waiting.popleft(), seat)
        if self._waiting or not self._next():
            self._pause()
        else:
            loop = asyncio.get_running_loop()
            for listener in self._listeners:
                loop.add_reader(listener, self._accept, listener)

    def _pause(self) -> None:
        """Accept nothing for now."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)

    def _next(self) -> _Seat | None:
        """Whose turn it is: a worker that is slow to take is passed over."""
        able = (each for each in self._seats if len(each.unconfirmed) < _UNCONFIRMED)
        return min(able, key=lambda each: each.connections, default=None)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client has gone again
        except OSError as error:  # out of descriptors or memory, for a while
            log.error("connections cannot be accepted", error=str(error))  # noqa: TRY400 - retried
            self._pause()
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._deal)
            return
        self._waiting.append(connection)
        self._deal()

    def _hand(self, connection: socket.socket, seat: _Seat) -> None:
        self._seats.remove(seat)
        try:
            socket.send_fds(seat.control, [CONNECTION], [connection.fileno()])
        except OSError:
            self._waiting.appendleft(connection)
            with contextlib.suppress(OSError):  # it is ending already
                seat.control.shutdown(socket.SHUT_RDWR)  # it ends, and another one is started
        else:
            seat.unconfirmed.append(connection)
            seat.connections += 1
            self._seats.append(seat)

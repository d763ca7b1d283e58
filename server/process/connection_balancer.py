"""Deals the listeners' connections out: each to the worker that has the fewest.

docs/decisions/0005-connections-are-dealt.md says why they do not accept for themselves.
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


class _WorkerChannel:
    """A worker as the dealer knows it."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.unconfirmed: deque[socket.socket] = deque()
        self.connections = 0  # these included


class ConnectionBalancer:
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
        self._channels: deque[_WorkerChannel] = (
            deque()
        )  # of equals, the one whose turn it is comes first
        self._waiting: deque[socket.socket] = deque()
        self._closed = False

    async def serve_worker(
        self, control: socket.socket, on_ready: Callable[[], None], on_silence: Callable[[], None]
    ) -> None:
        """Deal to the worker at the other end, from its first word until it takes no more.

        Call `on_silence`, again and again, while it does not even say that it is alive.
        """
        channel = _WorkerChannel(control)
        try:
            ready = await self._receive(control, len(READY))
            self._awaited -= 1
            if ready:
                on_ready()
                self._channels.append(channel)
                self._distribute()
            while received := await self._receive_messages(control, on_silence):
                for _ in range(received.count(TAKEN)):
                    channel.unconfirmed.popleft().close()
                channel.connections -= received.count(GONE)
                self._distribute()
        finally:
            if channel in self._channels:
                self._channels.remove(channel)
            self._waiting.extend(channel.unconfirmed)
            self._distribute()

    def close(self) -> None:
        """Refuse new connections from now on."""
        if not self._closed:
            self._closed = True
            self._pause()
            for listener in self._listeners:
                listener.close()
            self._distribute()

    async def _receive_messages(
        self, control: socket.socket, on_silence: Callable[[], None]
    ) -> bytes:
        # by several waits: after all of us were suspended, one of them is over at once
        for waits in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_SECONDS / _WAITS):
                    return await self._receive(control)
            if waits % _WAITS == 0:
                on_silence()
        return b""

    async def _receive(self, control: socket.socket, most: int = 4096) -> bytes:
        with contextlib.suppress(OSError):
            return await asyncio.get_running_loop().sock_recv(control, most)
        return b""

    def _distribute(self) -> None:
        if self._closed:
            while self._waiting:
                self._waiting.popleft().close()
        if self._closed or self._awaited > 0:
            return
        while self._waiting and (channel := self._next()):
            self._send_to(self._waiting.popleft(), channel)
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

    def _next(self) -> _WorkerChannel | None:
        """Whose turn it is: a worker that is slow to take is passed over."""
        able = (each for each in self._channels if len(each.unconfirmed) < _UNCONFIRMED)
        return min(able, key=lambda each: each.connections, default=None)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client has gone again
        except OSError as error:  # out of descriptors or memory, for a while
            log.error("connections cannot be accepted", error=str(error))  # noqa: TRY400 - retried
            self._pause()
            asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._distribute)
            return
        self._waiting.append(connection)
        self._distribute()

    def _send_to(self, connection: socket.socket, channel: _WorkerChannel) -> None:
        self._channels.remove(channel)
        try:
            socket.send_fds(channel.control, [CONNECTION], [connection.fileno()])
        except OSError:
            self._waiting.appendleft(connection)
            with contextlib.suppress(OSError):  # it is ending already
                channel.control.shutdown(socket.SHUT_RDWR)  # it ends, and another one is started
        else:
            channel.unconfirmed.append(connection)
            channel.connections += 1
            self._channels.append(channel)

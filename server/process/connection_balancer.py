"""Accepts connections and passes each to the worker with the fewest.

docs/decisions/0005-parent-process-distributes-connections.md explains why the workers do not
accept connections themselves.
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

_UNCONFIRMED = 16  # connections passed to one worker that it has not confirmed yet
_PAUSE_SECONDS = 1.0
SILENCE_SECONDS = 30.0  # a worker sends ALIVE every second
_WAITS = 3


class _WorkerChannel:
    """The control socket of a worker and the connections passed over it."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.unconfirmed: deque[socket.socket] = deque()
        self.connections = 0  # including unconfirmed ones


class ConnectionBalancer:
    """Accepts a connection whenever a worker has room for it; else connections wait in the kernel.

    The balancer keeps its copy of a connection until the worker confirms it, and passes it to
    another worker if the worker dies before. (macOS also requires the descriptor to stay open until
    it has arrived.) It accepts nothing until each of the first `workers` is ready or has failed;
    else the first worker would get all waiting connections.
    """

    def __init__(self, listeners: Sequence[socket.socket], workers: int) -> None:
        for listener in listeners:
            listener.setblocking(False)
        self._listeners = tuple(listeners)
        self._awaited = workers
        self._channels: deque[_WorkerChannel] = deque()  # in round-robin order
        self._waiting: deque[socket.socket] = deque()
        self._closed = False

    async def serve_worker(
        self, control: socket.socket, on_ready: Callable[[], None], on_silence: Callable[[], None]
    ) -> None:
        """Pass connections to the worker at the other end of `control` until the worker stops.

        Calls `on_ready` at its READY, and `on_silence` for every SILENCE_SECONDS without a message.
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
        """Close the listeners and all connections that no worker has."""
        if not self._closed:
            self._closed = True
            self._pause()
            for listener in self._listeners:
                listener.close()
            self._distribute()

    async def _receive_messages(
        self, control: socket.socket, on_silence: Callable[[], None]
    ) -> bytes:
        # several waits: after the whole machine was suspended, one of them ends at once
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
        """Stop accepting until `_distribute` resumes it."""
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            loop.remove_reader(listener)

    def _next(self) -> _WorkerChannel | None:
        """Return the worker with the fewest connections; skip those that are slow to confirm."""
        able = (each for each in self._channels if len(each.unconfirmed) < _UNCONFIRMED)
        return min(able, key=lambda each: each.connections, default=None)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # the client has disconnected
        except OSError as error:  # out of descriptors or memory
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
            with contextlib.suppress(OSError):  # the worker is ending
                channel.control.shutdown(
                    socket.SHUT_RDWR
                )  # the worker ends, and the supervisor starts another
        else:
            channel.unconfirmed.append(connection)
            channel.connections += 1
            self._channels.append(channel)

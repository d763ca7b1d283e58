"""Starts and stops uvicorn, in the only process or in a worker."""

import asyncio
import contextlib
import ctypes
import gc
import signal
import socket
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from server.transport.http_protocol import HttpProtocol
from server.transport.websocket_protocol import WebSocketProtocol

if TYPE_CHECKING:
    from server.app import Application

GRACE_SECONDS = 10
_RUN_SECONDS = 2.0
_ERROR_SECONDS = 1.0
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_POLL_SECONDS = 0.1  # as often as uvicorn checks for a forced exit
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Handles SIGTERM and SIGINT before uvicorn installs its handlers and after it has ended.

    `received`: a signal has arrived. `handed_over`: uvicorn or the supervisor handles signals now.
    """

    def __init__(self) -> None:
        self.received = False
        self.handed_over = False

    def on_signal(self, *_: object) -> None:
        """Record the signal; raise KeyboardInterrupt before the hand-over."""
        self.received = True
        if not self.handed_over:  # after it, uvicorn raises the signal that stopped it once more
            raise KeyboardInterrupt

    def install(self) -> None:
        """Install the handlers."""
        for name in _STOPPING:
            signal.signal(name, self.on_signal)

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        """Let a signal abort the startup, and never the cleanup."""
        before = {name: signal.getsignal(name) for name in _STOPPING}
        self.install()
        try:
            with contextlib.suppress(KeyboardInterrupt):
                yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def server_config(app: Starlette) -> uvicorn.Config:
    """Make uvicorn's configuration: docs/decisions/0013-subscription-transports.md measures it."""
    settings = app.state.application.settings
    return uvicorn.Config(
        app,
        http=HttpProtocol,
        ws=WebSocketProtocol,
        ws_max_size=settings.max_body_bytes,
        proxy_headers=False,  # server.http.forwarding reads them
        timeout_keep_alive=settings.keep_alive.total_seconds(),
        ws_per_message_deflate=False,  # its windows would be most of the memory of a subscriber
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class Server(uvicorn.Server):
    """uvicorn's server; before it waits for requests, it ends the refresh and all streams.

    A second signal forces the exit.
    """

    def __init__(self, app: Starlette, signals: Signals) -> None:
        super().__init__(server_config(app))
        self._application: Application = app.state.application
        self._signals = signals

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal arrives."""
        self._signals.handed_over = True
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, with a tuned garbage collector and allocator."""
        # Objects of the startup live for ever: without `freeze`, each full collection would scan
        # them and block the event loop for about 90 ms.
        gc.collect()
        gc.freeze()
        return_large_blocks_to_os()
        await super().startup(sockets)
        self.should_exit = self.should_exit or self._signals.received

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop within GRACE_SECONDS: listeners, refresh, streams, requests, lifespan."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.shutdown()  # an idle one; a busy one closes after its response
        started = time.monotonic()
        # first, because a request with `wait: true` ends with its run
        stopping = asyncio.create_task(self._application.end_refreshes())
        await asyncio.wait([stopping], timeout=_RUN_SECONDS)
        await self._end_streams(started + GRACE_SECONDS - _ERROR_SECONDS)
        left = GRACE_SECONDS - (time.monotonic() - started)
        self.config.timeout_graceful_shutdown = max(1, int(left))
        await super().shutdown(sockets)
        await stopping
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()
        if cut := self.server_state.tasks:  # they send an error to their clients
            await asyncio.wait(cut, timeout=_ERROR_SECONDS)
        if not self.lifespan.shutdown_event.is_set():  # on a forced exit uvicorn skips it
            await self.lifespan.shutdown()

    async def _end_streams(self, deadline: float) -> None:
        """End the streams gracefully until the deadline or a forced exit, then abort the rest."""
        ending = asyncio.create_task(self._application.end_streams(deadline - time.monotonic()))
        while not (ending.done() or self.force_exit):
            await asyncio.wait([ending], timeout=_POLL_SECONDS)
        if not ending.done():
            ending.cancel()
            await self._application.end_streams(0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; at a second signal force the exit."""
        force = self.forces_exit(sig) and self.should_exit
        super().handle_exit(sig, frame)
        self.force_exit = self.force_exit or force

    def forces_exit(self, sig: int) -> bool:
        """Return True if this signal, after a first one, forces the exit."""
        return sig in _STOPPING


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the factory of uvloop where it is installed: not on Windows or PyPy."""
    return uvicorn.Config("unused", log_config=None).get_loop_factory()


def return_large_blocks_to_os() -> None:
    """Let glibc allocate blocks larger than 1 MB by mmap, and so return them when they are freed.

    By default glibc raises this threshold up to 32 MB: large responses would then fragment the
    heap, which never shrinks. Without glibc this does nothing. mallopt(3), M_MMAP_THRESHOLD.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)

"""How a process serves and stops, be it the only one or a worker of several."""

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

from server.transport.http_protocol import HttpConnection
from server.transport.websocket_protocol import SocketConnection

if TYPE_CHECKING:
    from server.app import Application

GRACE_SECONDS = 10
_RUN_SECONDS = 2.0
_LAST_WORD_SECONDS = 1.0
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LOOK_SECONDS = 0.1  # as often as uvicorn itself looks whether it is to hasten
_STOPPING = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """What SIGTERM and SIGINT do before the server takes them over, and after it has served."""

    def __init__(self) -> None:
        self.heard = False
        self.taken_over = False

    def hear(self, *_: object) -> None:
        self.heard = True
        if not self.taken_over:  # once it has, uvicorn raises the signal that stopped it again
            raise KeyboardInterrupt

    def listen(self) -> None:
        for name in _STOPPING:
            signal.signal(name, self.hear)

    @contextlib.contextmanager
    def end_well(self) -> Iterator[None]:
        """Let signals end the start, too, and never what must be done at the end."""
        before = {name: signal.getsignal(name) for name in _STOPPING}
        self.listen()
        try:
            with contextlib.suppress(KeyboardInterrupt):
                yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def server_config(app: Starlette) -> uvicorn.Config:
    """Configure uvicorn. docs/decisions/0013-subscription-transports.md has the measurements."""
    settings = app.state.application.settings
    return uvicorn.Config(
        app,
        http=HttpConnection,
        ws=SocketConnection,
        ws_max_size=settings.max_body_bytes,
        proxy_headers=False,  # server.http.forwarding reads them
        timeout_keep_alive=settings.keep_alive.total_seconds(),
        ws_per_message_deflate=False,  # its windows would be most of what a subscriber costs
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which ends a refresh and all streams before it waits for requests.

    A second signal hastens.
    """

    def __init__(self, app: Starlette, signals: Signals) -> None:
        super().__init__(server_config(app))
        self._application: Application = app.state.application
        self._signals = signals

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._signals.taken_over = True
        await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # What was made for the start stays: looking through it again and again would take the
        # collector some 90 ms each time, in which nobody is answered.
        gc.collect()
        gc.freeze()
        give_back_large_blocks()
        await super().startup(sockets)
        self.should_exit = self.should_exit or self._signals.heard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # nobody else comes in
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpConnection):
                connection.shutdown()  # nor over what is open: who reconnects would be refused
        started = time.monotonic()
        # first, because a request with `wait: true` ends with its run
        stopping = asyncio.create_task(self._application.end_refreshes())
        await asyncio.wait([stopping], timeout=_RUN_SECONDS)
        await self._end_streams(started + GRACE_SECONDS - _LAST_WORD_SECONDS)
        left = GRACE_SECONDS - (time.monotonic() - started)
        self.config.timeout_graceful_shutdown = max(1, int(left))
        await super().shutdown(sockets)
        await stopping
        if self.force_exit:
            for task in self.server_state.tasks:
                task.cancel()
        if cut := self.server_state.tasks:  # they have a word to say about it
            await asyncio.wait(cut, timeout=_LAST_WORD_SECONDS)
        if not self.lifespan.shutdown_event.is_set():  # in haste uvicorn leaves it to be cut off
            await self.lifespan.shutdown()

    async def _end_streams(self, deadline: float) -> None:
        """End them well until then, or until somebody does not want to wait."""
        ending = asyncio.create_task(self._application.end_streams(deadline - time.monotonic()))
        while not (ending.done() or self.force_exit):
            await asyncio.wait([ending], timeout=_LOOK_SECONDS)
        if not ending.done():
            ending.cancel()
            await self._application.end_streams(0)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        hasten = self.hastened_by(sig) and self.should_exit
        super().handle_exit(sig, frame)
        self.force_exit = self.force_exit or hasten

    def hastened_by(self, sig: int) -> bool:
        """Whether this signal, when it is not the first one, means that nobody wants to wait."""
        return sig in _STOPPING


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Choose uvloop where there is one: not on Windows, nor on PyPy."""
    return uvicorn.Config("unused", log_config=None).get_loop_factory()


def give_back_large_blocks() -> None:
    """Let glibc map what is larger than 1 MB by itself, and so return it when it is freed.

    By itself it raises that limit to 32 MB as it goes: answers would then leave holes behind that
    stay the process's for good. Elsewhere nothing happens.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)

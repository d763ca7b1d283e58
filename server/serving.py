"""How a process serves and stops, be it the only one or a worker of several."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette

from server.protocol import BoundedProtocol

if TYPE_CHECKING:
    from server.app import Application

GRACE_SECONDS = 10
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


class Server(uvicorn.Server):
    """uvicorn's server, which ends a refresh under way before it waits for requests."""

    def __init__(self, app: Starlette, signals: Signals) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
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
        await super().startup(sockets)
        self.should_exit = self.should_exit or self._signals.heard

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # first, because a request with `wait: true` ends with its run
        await self._application.refresher.interrupt()
        await super().shutdown(sockets)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Choose uvloop where there is one: not on Windows, nor on PyPy."""
    return uvicorn.Config("unused", log_config=None).get_loop_factory()

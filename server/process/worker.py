"""A worker process: serves the connections that its parent passes on, and ends with the parent."""

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
import threading
import time

import structlog
from starlette.applications import Starlette

from server.app import create_app
from server.logs import set_up_logs
from server.process.control_protocol import ALIVE, GONE, READY, TAKEN, WorkerConfig
from server.process.server import GRACE_SECONDS, Server, Signals, loop_factory

log = structlog.get_logger("coingraph.workers")

_STDIN = 0
_LAST_RESORT_SECONDS = GRACE_SECONDS + 5


class Worker(Server):
    """A server without listeners: its connections come over the control socket."""

    def __init__(self, app: Starlette, signals: Signals, control: socket.socket) -> None:
        super().__init__(app, signals)
        self._control = control
        self._tasks: set[asyncio.Task[None]] = set()  # of connections that are being taken over
        self._signalled: set[int] = set()
        self._taken = 0
        self._reported_gone = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving and report READY."""
        await super().startup(sockets)
        self._send(READY)
        asyncio.get_running_loop().add_reader(self._control, self._receive_connection)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no further connections and stop."""
        self._leave()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Report ended connections ten times a second, and ALIVE once a second."""
        left = len(self._tasks) + len(self.server_state.connections)
        gone = self._taken - left - self._reported_gone
        if gone > 0:
            # the buffer is full, or `_receive_connection` notices that the parent has ended
            with contextlib.suppress(OSError):
                self._reported_gone += self._control.send(GONE * gone)
        if counter % 10 == 0:
            self._send(ALIVE)
        return await super().on_tick(counter)

    def forces_exit(self, sig: int) -> bool:
        """Return True once both SIGTERM and SIGINT have arrived, in any order.

        A second SIGTERM may be the parent's, if systemd sent the first to all processes. The parent
        forces the exit by SIGINT, which may be handled before its earlier SIGTERM.
        """
        self._signalled.add(sig)
        return {signal.SIGTERM, signal.SIGINT} <= self._signalled

    def _leave(self) -> None:
        asyncio.get_running_loop().remove_reader(self._control)
        with contextlib.suppress(OSError):  # the parent has ended
            self._control.shutdown(socket.SHUT_WR)

    def _receive_connection(self) -> None:
        try:
            received, descriptors, *_ = socket.recv_fds(self._control, 1, 1)
        except BlockingIOError:
            return
        except OSError:
            received, descriptors = b"", []
        if not received:  # the parent has ended or passes on no more connections
            self._leave()
            self.should_exit = True
            return
        self._taken += 1
        self._send(TAKEN)
        if not descriptors:
            log.error(
                "a connection was refused: too many files are open; raise the limit (ulimit -n)"
            )
        for descriptor in descriptors:
            task = asyncio.create_task(self._connect(socket.socket(fileno=descriptor)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # the client has disconnected
            connection.close()

    def _protocol(self) -> asyncio.Protocol:
        """Make the protocol of a connection as uvicorn does for its own listeners."""
        return self.config.http_protocol_class(  # type: ignore[call-arg] # as in uvicorn's startup
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            _loop=asyncio.get_running_loop(),
        )

    def _send(self, message: bytes) -> None:
        # `_receive_connection` notices that the parent has ended
        with contextlib.suppress(OSError):
            self._control.send(message)


def main() -> None:
    """Serve until a signal or the end of the parent."""
    control = socket.socket(fileno=int(sys.argv[-1]))
    control.setblocking(False)
    try:
        with open(_STDIN, "rb", closefd=False) as stdin:
            config: WorkerConfig = pickle.load(stdin)  # noqa: S301 - from the parent
    except EOFError:  # the parent has ended already
        return
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    settings = config.settings
    set_up_logs(settings.log_format, settings.log_level, settings.secrets)
    structlog.contextvars.bind_contextvars(worker=os.getpid())
    signals = Signals()
    with signals.handling(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(config, control, signals))


async def _serve(config: WorkerConfig, control: socket.socket, signals: Signals) -> None:
    app = create_app(config.settings, leads=config.leads)
    await Worker(app, signals, control).serve(sockets=[])


def _end_with_the_parent() -> None:
    while os.read(_STDIN, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_LAST_RESORT_SECONDS)  # then exit, even if the main thread is stuck
    os._exit(1)

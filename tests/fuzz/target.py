"""The server under test, in its own process, and its state as seen from outside."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from operator import le
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import psutil

from tests.server.postgres_processes import eventually
from tests.server.server_process import SMALL, Served, environment
from tests.serving import PATIENCE, TOKEN

# `coingraph serve` that logs the number of its tasks on SIGUSR1
_PROGRAM = """
import asyncio, gc, json, signal, sys
from server.cli.main import main

def report(*_):
    tasks = [each for each in gc.get_objects() if type(each) is asyncio.Task and not each.done()]
    print(json.dumps({"event": "tasks", "level": "info", "count": len(tasks)}), file=sys.stderr)

signal.signal(signal.SIGUSR1, report)
main()
"""
_SILENCE = 0.15  # seconds
_ATTEMPTS = 3
_LONG = 0.1  # seconds of the processor for one request, which are worth reporting


class Target:
    """A server that is also checked by its log, its tasks and its connections."""

    def __init__(self, server: Served) -> None:
        self._server = server
        self._process = psutil.Process(server.process.pid)
        self._read = 0
        self.url = server.url
        address = urlsplit(self.url)
        self.address = (address.hostname, address.port)
        self._long: list[tuple[float, str]] = []
        self._at_rest = (0, 0)

    def settle(self) -> None:
        """Record the open connections and tasks of the idle server."""
        self._at_rest = self._open()

    def assert_well(self) -> None:
        """Check that it responds, logged no error and released the state of closed connections."""
        assert self._server.process.poll() is None
        for path in ("/health/live", "/health/ready"):
            assert httpx.get(self.url + path, timeout=PATIENCE, trust_env=False).status_code == 200
        eventually(lambda: all(map(le, self._open(), self._at_rest)))
        self.assert_silent()

    def assert_silent(self) -> None:
        """Check that the log has no warning or error."""
        with self._server.log.open("rb") as log:
            log.seek(self._read)
            text = log.read().rpartition(b"\n")[0]
        self._read += len(text) + bool(text)
        for line in text.splitlines():
            fields = orjson.loads(line)  # a traceback is none
            assert fields["level"] not in {"error", "critical"}, fields
            assert "exception" not in fields, fields

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Measure the processor time of a block. No other request must run meanwhile."""
        before = self._seconds()
        yield
        seconds = self._seconds() - before
        if seconds > _LONG:
            self._long.append((seconds, what))

    def report_long(self) -> None:
        for seconds, what in sorted(self._long, reverse=True)[:10]:
            print(f"{seconds * 1e3:.0f} ms of the processor for {what[:2000]}")

    def _seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _open(self) -> tuple[int, int]:
        """Count client connections and tasks."""
        reported = len(self._server.lines("tasks"))
        self._server.process.send_signal(signal.SIGUSR1)
        eventually(lambda: len(self._server.lines("tasks")) > reported)
        tasks = self._server.lines("tasks")[-1]["count"]
        ours = [
            each
            for each in self._process.net_connections("tcp")
            if each.laddr.port == self.address[1] and each.raddr
        ]
        return len(ours), tasks


@contextlib.contextmanager
def target(folder: Path, **settings: str) -> Iterator[Target]:
    """Serve during the block, after the first refresh; then the server must stop cleanly."""
    log = folder / "log"
    given = SMALL | {"CURRENCIES": "usd,eur", "HISTORY_DAYS": "5"} | settings
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, "serve"],
            cwd=folder,
            env=environment(given),
            stderr=stderr,
            start_new_session=True,
        ) as process,
    ):
        server = Served(process, log)
        try:
            yield _refreshed(server)
            process.terminate()
            assert process.wait(60) == 0
        finally:
            if process.poll() is None:
                process.kill()


def _refreshed(server: Served) -> Target:
    query = "mutation { refreshPrices(input: {wait: true}) { run { status } } }"
    server.await_line("Application startup complete.")
    made = Target(server)
    answer = httpx.post(
        f"{made.url}/graphql",
        json={"query": query},
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=PATIENCE,
        trust_env=False,
    )
    assert answer.json()["data"]["refreshPrices"]["run"]["status"] == "SUCCEEDED"
    return made


async def exchange(address: Any, pieces: list[bytes], *, handshake: bytes = b"") -> bytes:
    """Send pieces over a new connection; return the bytes received until silence or its end.

    A handshake is sent first and its response awaited, again on a new connection if one is closed
    before: on a busy machine a head may arrive too slowly, and the server then rejects it.
    """
    reader, writer, received = await _opened(address, handshake)
    try:
        with contextlib.suppress(ConnectionError, TimeoutError):
            for piece in pieces:
                writer.write(piece)
                await asyncio.wait_for(writer.drain(), _SILENCE)
            while data := await asyncio.wait_for(reader.read(65536), _SILENCE):
                received += data
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return bytes(received)


async def _opened(
    address: Any, handshake: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytearray]:
    """Open a connection; return it and the response to the handshake, if any."""
    for attempt in range(_ATTEMPTS):
        reader, writer = await asyncio.open_connection(*address)
        if not handshake:
            break
        try:
            writer.write(handshake)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
            writer.transport.abort()
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return reader, writer, bytearray(head)
    return reader, writer, bytearray()

"""Servers that stop while a client waits for a response."""

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from server.streams.graphql_transport_ws import SUBPROTOCOL
from simulator import Simulator
from tests.server.postgres_processes import ROOT
from tests.server.server_process import Served, served

SLOW = {"query": "{ coins { nodes { id metadata { description } } } }"}
REFRESH = {"query": "mutation { refreshPrices(input: {wait: true}) { run { status } } }"}
WORKERS = [(), ("--workers", "2")]


class Lock:
    """Locks a table against all readers."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+asyncpg", "")
        self._held, self._free = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._hold()))

    async def _hold(self) -> None:
        connection = await asyncpg.connect(self._url)
        # the server's own database may end before
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
            async with connection.transaction():
                await connection.execute("LOCK TABLE coin_metadata IN ACCESS EXCLUSIVE MODE")
                self._held.set()
                await asyncio.to_thread(self._free.wait)
        await connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._held.wait(60)
        return self

    def release(self) -> None:
        self._free.set()

    def __exit__(self, *_: object) -> None:
        self.release()
        self._thread.join()


def asked(server: Served, threads: ThreadPoolExecutor) -> Future[httpx.Response]:
    """Send a query that must wait, and return once it is running."""

    def ask() -> httpx.Response:
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            return client.post("/graphql", json=SLOW)

    return threads.submit(ask)


def asked_over_a_socket(url: str) -> float:
    """Send it over a WebSocket; return when that was closed."""
    address = url.replace("http", "ws", 1) + "/graphql"
    with (
        contextlib.suppress(ConnectionClosed),
        connect(address, subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None) as socket,
    ):
        socket.send(json.dumps({"type": "connection_init"}))
        socket.send(json.dumps({"type": "subscribe", "id": "1", "payload": SLOW}))
        while True:
            socket.recv()
    return time.monotonic()


def waiting(url: str) -> bool:
    async def ask() -> Any:
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            return await connection.fetchval(
                "SELECT count(*) FROM pg_locks WHERE NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
        finally:
            await connection.close()

    return bool(asyncio.run(ask()))


def refuses(server_url: str) -> bool:
    host, port = server_url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return True
    return False


def started(folder: Path, url: str, simulator: Simulator, *arguments: str, **more: str) -> Any:
    settings = {"DATABASE_URL": url, "COINGECKO_BASE_URL": simulator.base_url}
    return served(folder, *arguments, **settings, **more)


def long_grace(folder: Path) -> dict[str, str]:
    """Settings with timeouts of ten minutes, so that an early end shows a forced exit."""
    (folder / "sitecustomize.py").write_text(
        "from server.process import server\nserver.GRACE_SECONDS = 600\n"
    )
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "OPERATION_TIMEOUT": "10m"}


def await_start(server: Served, arguments: tuple[str, ...]) -> set[int]:
    server.await_line("refresh ended")
    return server.await_workers(2) if arguments else {server.process.pid}

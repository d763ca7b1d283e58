"""Stopping under load: what is under way is finished, in 10 s; nothing is left."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from ingestion.simulator import Fault, Simulator
from server.serving import GRACE_SECONDS
from server.streams.messages import SUBPROTOCOL
from tests.conftest import new_database
from tests.server.postgres_processes import ROOT, eventually, gone, servers_of, supervisor_of
from tests.server.served import START_SECONDS, Served, served
from tests.serving import TOKEN

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind")

SLOW = {"query": "{ coins { nodes { id metadata { description } } } }"}
REFRESH = {"query": "mutation { refreshPrices(input: {wait: true}) { run { status } } }"}
WORKERS = [(), ("--workers", "2")]


class Lock:
    """Holds a table back from all who would read it."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+asyncpg", "")
        self._held, self._free = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._hold()))

    async def _hold(self) -> None:
        connection = await asyncpg.connect(self._url)
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


@pytest.fixture
def url(postgres_url: str) -> Iterator[str]:
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def asked(server: Served, threads: ThreadPoolExecutor) -> Future[httpx.Response]:
    """Send a query that has to wait, and return once it is under way."""

    def ask() -> httpx.Response:
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            return client.post("/graphql", json=SLOW)

    return threads.submit(ask)


def asked_over_a_socket(url: str) -> float:
    """Send it over a WebSocket; when that was closed."""
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


def patience(folder: Path) -> dict[str, str]:
    """Settings of a server that would wait for ten minutes, so that its end shows its haste."""
    (folder / "sitecustomize.py").write_text(
        "import server.serving\nserver.serving.GRACE_SECONDS = 600\n"
    )
    return {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "OPERATION_TIMEOUT": "10m"}


def await_start(server: Served, arguments: tuple[str, ...]) -> set[int]:
    server.await_line("refresh ended")
    return server.await_workers(2) if arguments else {server.process.pid}


@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_a_query_under_way_is_answered(
    url: str,
    shared_simulator: Simulator,
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    arguments: tuple[str, ...],
) -> None:
    with started(tmp_path, url, shared_simulator, *arguments) as server:
        pids = await_start(server, arguments)
        with Lock(url) as lock:
            answer = asked(server, threads)
            eventually(lambda: waiting(url))
            server.process.terminate()
            eventually(lambda: refuses(server.url))
            assert not answer.done(), "no new ones, and this one is still waited for"
            lock.release()
            response = answer.result()
        assert response.status_code == 200
        assert len(response.json()["data"]["coins"]["nodes"]) == 2
        assert server.process.wait(START_SECONDS) == 0
    assert gone(pids)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_a_query_that_does_not_end_is_cut(
    url: str,
    shared_simulator: Simulator,
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    arguments: tuple[str, ...],
) -> None:
    with started(tmp_path, url, shared_simulator, *arguments) as server:
        pids = await_start(server, arguments)
        with Lock(url):
            begun = time.monotonic()  # the statement's own limit begins after that
            answer = asked(server, threads)
            eventually(lambda: waiting(url))
            server.process.terminate()
            assert server.process.wait(START_SECONDS) == 0
            assert time.monotonic() - begun > GRACE_SECONDS - 1, "it was waited for"
            # by the server, or by the limit of 10 s that a statement has itself
            assert "SERVICE_UNAVAILABLE" in answer.result().text
            eventually(lambda: not waiting(url))  # PostgreSQL was told, too
    assert gone(pids)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("hastened", [False, True])
def test_a_query_over_a_socket_is_waited_for_as_long(
    url: str,
    shared_simulator: Simulator,
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    hastened: bool,
) -> None:
    more = patience(tmp_path) if hastened else {}
    with started(tmp_path, url, shared_simulator, **more) as server:
        await_start(server, ())
        with Lock(url):
            begun = time.monotonic()  # the statement's own limit begins after that
            ended = threads.submit(asked_over_a_socket, server.url)
            eventually(lambda: waiting(url))
            server.process.terminate()
            eventually(lambda: refuses(server.url))
            if hastened:
                server.process.terminate()
            assert server.process.wait(START_SECONDS) == 0
            assert hastened or ended.result() - begun > GRACE_SECONDS - 2
    assert not server.lines("Exception in ASGI application")


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_a_second_signal_hastens(
    url: str,
    simulator: Simulator,
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    arguments: tuple[str, ...],
    again: signal.Signals,
) -> None:
    """It ends while the table is still locked; its run is marked all the same."""
    simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
    with started(tmp_path, url, simulator, *arguments, **patience(tmp_path)) as server:
        server.await_line("refresh started")
        pids = server.await_workers(2) if arguments else {server.process.pid}
        with Lock(url):
            answer = asked(server, threads)
            eventually(lambda: waiting(url))
            server.process.terminate()
            eventually(lambda: refuses(server.url))
            server.process.send_signal(again)
            assert server.process.wait(START_SECONDS) == 0
            with pytest.raises(httpx.HTTPError):
                answer.result().raise_for_status()
        assert server.lines("refresh ended")[0]["status"] == "INTERRUPTED"
    assert gone(pids)


@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_its_own_database_ends_last(
    tmp_path: Path, threads: ThreadPoolExecutor, arguments: tuple[str, ...]
) -> None:
    """All get the signal at once, as from systemd, PostgreSQL's supervisor included."""
    with served(tmp_path, "--demo", *arguments, DATA_DIR="data") as server:
        pids = await_start(server, arguments)
        database = servers_of(tmp_path / "data/demo")
        folder = tmp_path / "data/demo/postgres/socket"
        url = f"postgresql://coingraph@/coingraph?host={folder}&port=5432"
        with Lock(url) as lock:
            answer = asked(server, threads)
            eventually(lambda: waiting(url))
            for pid in {server.process.pid} | pids | {supervisor_of(tmp_path / "data/demo")}:
                os.kill(pid, signal.SIGTERM)
            eventually(lambda: refuses(server.url))
            lock.release()
            assert answer.result().status_code == 200
        assert server.process.wait(START_SECONDS) == 0
    assert gone(pids)
    eventually(lambda: gone(database))
    assert "Traceback" not in server.log.read_text()


def test_a_refresh_that_is_about_to_begin_is_marked(
    url: str, simulator: Simulator, tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    """It is being planned when the signal comes."""
    with started(tmp_path, url, simulator) as server:
        server.await_line("refresh ended")
        simulator.add_fault(Fault("slow", times=None, seconds=60))
        with (
            Lock(url) as lock,
            httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client,
        ):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            refreshing = threads.submit(client.post, "/graphql", json=REFRESH, headers=headers)
            eventually(lambda: waiting(url))
            server.process.terminate()
            eventually(lambda: refuses(server.url))
            lock.release()
            told = refreshing.result()
        assert told.status_code == 200
        assert told.json()["data"]["refreshPrices"]["run"]["status"] == "INTERRUPTED"
        assert server.process.wait(START_SECONDS) == 0
        assert [line["status"] for line in server.lines("refresh ended")] == [
            "SUCCEEDED",
            "INTERRUPTED",
        ]

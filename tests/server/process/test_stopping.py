"""Stopping under load: running requests have 10 s to finish; no process is left."""

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from server.postgres.embedded import EmbeddedPostgres
from server.process.server import GRACE_SECONDS
from simulator import Fault, Simulator
from tests.server.blocked_queries import (
    REFRESH,
    WORKERS,
    Lock,
    asked,
    asked_over_a_socket,
    await_start,
    long_grace,
    refuses,
    started,
    waiting,
)
from tests.server.postgres_processes import eventually, gone, servers_of, supervisor_of
from tests.server.server_process import START_SECONDS, served
from tests.serving import TOKEN

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind"),
]


@pytest.mark.endurance
@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_a_running_query_is_answered(
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


@pytest.mark.endurance
@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_a_query_that_does_not_end_is_cancelled(
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
            eventually(lambda: not waiting(url))  # the statement was cancelled too
    assert gone(pids)
    assert "Traceback" not in server.log.read_text()


@pytest.mark.endurance
@pytest.mark.parametrize("signalled_twice", [False, True])
def test_a_query_over_a_socket_is_waited_for_as_long(
    url: str,
    shared_simulator: Simulator,
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    signalled_twice: bool,
) -> None:
    more = long_grace(tmp_path) if signalled_twice else {}
    with started(tmp_path, url, shared_simulator, **more) as server:
        await_start(server, ())
        with Lock(url):
            begun = time.monotonic()  # the statement's own limit begins after that
            ended = threads.submit(asked_over_a_socket, server.url)
            eventually(lambda: waiting(url))
            server.process.terminate()
            eventually(lambda: refuses(server.url))
            if signalled_twice:
                server.process.terminate()
            assert server.process.wait(START_SECONDS) == 0
            assert signalled_twice or ended.result() - begun > GRACE_SECONDS - 2
    assert "Traceback" not in server.log.read_text()


@pytest.mark.endurance
@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_its_own_database_ends_last(
    tmp_path: Path, threads: ThreadPoolExecutor, arguments: tuple[str, ...]
) -> None:
    """All processes receive the signal at once, as from systemd."""
    with served(tmp_path, "--demo", *arguments, DATA_DIR="data") as server:
        pids = await_start(server, arguments)
        database = servers_of(tmp_path / "data/demo")
        folder = EmbeddedPostgres(tmp_path / "data/demo").socket_dir
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
    """The signal arrives while the refresh is being planned."""
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
            shown = refreshing.result()
        assert shown.status_code == 200
        assert shown.json()["data"]["refreshPrices"]["run"]["status"] == "INTERRUPTED"
        assert server.process.wait(START_SECONDS) == 0
        assert [line["status"] for line in server.lines("refresh ended")] == [
            "SUCCEEDED",
            "INTERRUPTED",
        ]


@pytest.mark.endurance
def test_an_unread_response_is_aborted(
    url: str, shared_simulator: Simulator, tmp_path: Path
) -> None:
    times = " ".join(f"a{number}: timestamp" for number in range(150))
    text = f'{{ prices(coin: "bitcoin", first: 9000, fill: NULL) {{ points {{ {times} }} }} }}'
    with started(tmp_path, url, shared_simulator, HISTORY_DAYS="365") as server:
        await_start(server, ())
        with deaf(server.url, text):
            server.process.terminate()
            assert server.process.wait(START_SECONDS) == 0
    assert "Traceback" not in server.log.read_text()


@contextlib.contextmanager
def deaf(url: str, text: str) -> Iterator[None]:
    """A client that reads only the beginning of a response."""
    body = json.dumps({"query": text}).encode()
    head = f"POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
        yield

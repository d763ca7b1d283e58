"""A second or third signal ends the server at once, without leftovers."""

import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from server.postgres.embedded import EmbeddedPostgres
from simulator import Fault, Simulator
from tests.server.blocked_queries import (
    WORKERS,
    Lock,
    asked,
    await_start,
    long_grace,
    refuses,
    started,
    waiting,
)
from tests.server.postgres_processes import eventually, gone, servers_of
from tests.server.server_process import START_SECONDS, served

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform == "win32", reason="signals of another kind"),
]


@pytest.mark.endurance
@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_a_second_signal_forces_the_exit(
    url: str,
    simulator: Simulator,
    tmp_path: Path,
    threads: ThreadPoolExecutor,
    arguments: tuple[str, ...],
    again: signal.Signals,
) -> None:
    """The server ends while a table is locked; its run is marked as interrupted."""
    simulator.add_fault(Fault("slow", path="/market_chart", times=None, seconds=60))
    with started(tmp_path, url, simulator, *arguments, **long_grace(tmp_path)) as server:
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
    assert "Traceback" not in server.log.read_text()


@pytest.mark.endurance
@pytest.mark.parametrize("arguments", WORKERS, ids=["alone", "workers"])
def test_a_forced_exit_stops_the_embedded_database(
    tmp_path: Path, threads: ThreadPoolExecutor, arguments: tuple[str, ...]
) -> None:
    with served(tmp_path, "--demo", *arguments, DATA_DIR="data", **long_grace(tmp_path)) as server:
        pids = await_start(server, arguments)
        database = servers_of(tmp_path / "data/demo")
        folder = EmbeddedPostgres(tmp_path / "data/demo").socket_dir
        url = f"postgresql://coingraph@/coingraph?host={folder}&port=5432"
        with Lock(url):
            answer = asked(server, threads)
            eventually(lambda: waiting(url))
            server.process.terminate()
            eventually(lambda: refuses(server.url))
            for again in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
                server.process.send_signal(again)
            with pytest.raises(httpx.HTTPError):
                answer.result().raise_for_status()
            eventually(lambda: gone(database))
        assert server.process.wait(START_SECONDS) == 0
    assert gone(pids)
    assert "Traceback" not in server.log.read_text()

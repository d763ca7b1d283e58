"""Two servers that share one data directory and its embedded database."""

import signal
import sys
from pathlib import Path

import pytest

from tests.server.postgres_processes import eventually, postmaster_of, servers_of
from tests.server.server_process import START_SECONDS
from tests.server.system.killable_server import (
    await_end,
    await_ready,
    ledger_of,
    rebuild,
    refreshing,
    serving,
    stop,
)
from tests.server.system.upstreams import run_worlds

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform == "win32", reason="no embedded PostgreSQL there"),
]
RUNNING = "SELECT count(*) FROM refresh_run WHERE status = 'RUNNING'"


@pytest.mark.endurance
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_one_that_started_the_database_ends(tmp_path: Path, end: signal.Signals) -> None:
    """During a refresh: the other server continues it on the same database."""
    ledger, data_dir = ledger_of(tmp_path), tmp_path / "data"
    (tmp_path / "other").mkdir()
    with run_worlds() as worlds, serving(tmp_path, worlds) as first:
        first.await_line("refresh ended")
        postmaster, everything = postmaster_of(data_dir), servers_of(data_dir)
        with serving(tmp_path / "other", worlds, DATA_DIR=str(data_dir)) as second:
            await_ready(second)
            before = ledger.read()
            with refreshing(first, worlds, 0.1):
                first.process.send_signal(end)
                first.process.wait(START_SECONDS)
            ledger.judge(before, worlds)
            with second.client() as http:
                assert http.get("/health/ready").status_code == 200
            assert postmaster_of(data_dir) == postmaster
            assert rebuild(second) == "SUCCEEDED"
            ledger.assert_equal(worlds)
            assert ledger.value(RUNNING) == 0
            eventually(lambda: second.lines("leading the deployment"), START_SECONDS)
            stop(second)
        await_end(everything)

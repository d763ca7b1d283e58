"""SIGKILL at random moments of refreshes, to every process that holds data.

POWER_SEED seeds the moments, default 0. POWER_KILLS is the number of kills of each kind.
"""

import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.server.postgres_processes import (
    eventually,
    gone,
    postmaster_of,
    processes,
    servers_of,
    supervisor_of,
)
from tests.server.server_process import START_SECONDS, Served
from tests.server.system.killable_server import (
    await_end,
    await_ready,
    ledger_of,
    rebuild,
    refreshing,
    serving,
    stop,
)
from tests.server.system.stored_data import Ledger
from tests.server.system.upstreams import Worlds, run_worlds

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(sys.platform == "win32", reason="no embedded PostgreSQL there"),
]

KILLS = int(os.environ.get("POWER_KILLS", "12"))
RUNNING = "SELECT count(*) FROM refresh_run WHERE status = 'RUNNING'"


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("POWER_SEED", "0"))
    print(f"POWER_SEED={seed}")  # noqa: T201 - shown where a test fails
    return random.Random(seed)  # noqa: S311 - nothing secret


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    with run_worlds() as worlds:
        yield worlds


def measure(server: Served, worlds: Worlds, *, times: int) -> float:
    """Measure a rebuild that changes everything, in seconds."""
    seconds = []
    for _ in range(times):
        worlds.turn()
        began = time.monotonic()
        assert rebuild(server) == "SUCCEEDED"
        seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


@dataclass
class Findings:
    """The results of one test. `length`: of a rebuild. `start`: of a healthy server."""

    length: float
    start: float = 0.0
    recoveries: list[float] = field(default_factory=list)
    changed: list[int] = field(default_factory=list)

    def moment(self, chance: random.Random) -> float:
        """Return when to kill, in seconds since the start of a rebuild; sometimes it is too late.

        The time grows if the machine has become so slow that all kills were too early.
        """
        early = 0 if any(self.changed) else len(self.changed)
        return chance.uniform(0, 1.3 * self.length * 1.3**early)

    @contextlib.contextmanager
    def recovery(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.recoveries.append(time.monotonic() - began)

    def report(self) -> None:
        seconds = sorted(round(each, 2) for each in self.recoveries)
        sound = f", a sound start {self.start:.2f} s" if self.start else ""
        for line in (
            f"a rebuild takes {self.length:.2f} s{sound}",
            f"seconds until ready again: median {statistics.median(seconds)} of {seconds}",
            f"series that a killed refresh had changed: {self.changed}",
        ):
            print(line)  # noqa: T201 - shown with -s
        assert any(self.changed)


def test_the_server_is_killed(tmp_path: Path, worlds: Worlds, chance: random.Random) -> None:
    """Alone, or with all processes as in a power failure. All data is sound after a restart."""
    ledger, data_dir = ledger_of(tmp_path), tmp_path / "data"
    with serving(tmp_path, worlds) as server:
        server.await_line("refresh ended")
        stop(server)
    sound = Findings(0)
    with restarted(tmp_path, worlds, sound) as server:
        # the first one of a server, which takes longer than those that follow
        findings = Findings(measure(server, worlds, times=1), start=sound.recoveries[0])
        before = ledger.read()
        stop(server)
    with subprocess.Popen(["/bin/sleep", "3600"]) as bystander:
        for number in range(KILLS):
            with restarted(tmp_path, worlds, findings) as server:
                findings.changed.append(ledger.judge(before, worlds))
                assert ledger.value(RUNNING) == 0
                before, everything = ledger.read(), servers_of(data_dir)
                with refreshing(server, worlds, findings.moment(chance)):
                    server.process.kill()
                    if number % 2:
                        cut_the_power(data_dir, everything, bystander.pid)
            if number % 4 == 0:  # or else the next one comes at once
                await_end(everything)
        with restarted(tmp_path, worlds, findings) as server:
            findings.changed.append(ledger.judge(before, worlds))
            assert_all_well(server, ledger, worlds)
        assert bystander.poll() is None
        bystander.kill()
    await_end(everything)
    findings.report()


@contextlib.contextmanager
def restarted(folder: Path, worlds: Worlds, findings: Findings) -> Iterator[Served]:
    with contextlib.ExitStack() as stack:
        with findings.recovery():
            server = stack.enter_context(serving(folder, worlds))
            await_ready(server)
        yield server


def assert_all_well(server: Served, ledger: Ledger, worlds: Worlds) -> None:
    """Check that one more refresh gives the data of a server that was never killed, then stop."""
    assert rebuild(server) == "SUCCEEDED"
    ledger.assert_equal(worlds)
    stop(server)


def cut_the_power(data_dir: Path, everything: set[int], reused: int) -> None:
    """Kill all processes, and leave a PID file with the PID of another process."""
    for pid in everything:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    await_end(everything)
    file = data_dir / "postgres/cluster/postmaster.pid"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([f"{reused}\n", *lines[1:]]))


@pytest.mark.parametrize("victim", ["backend", "postmaster"])
def test_the_database_is_killed(
    tmp_path: Path, worlds: Worlds, chance: random.Random, victim: str
) -> None:
    """The server goes on and becomes ready by itself."""
    ledger, data_dir = ledger_of(tmp_path), tmp_path / "data"
    with serving(tmp_path, worlds) as server:
        server.await_line("refresh ended")
        findings = Findings(measure(server, worlds, times=3))
        supervisor = supervisor_of(data_dir)
        for _ in range(KILLS):
            # the first one after a kill takes longer, and its success shows that all is well
            findings.length = measure(server, worlds, times=1)
            before, postmaster = ledger.read(), postmaster_of(data_dir)
            workers = servers_of(data_dir) - {supervisor, postmaster}
            with refreshing(server, worlds, findings.moment(chance)):
                if victim == "postmaster":
                    os.kill(postmaster, signal.SIGKILL)
                    await_end({postmaster, *workers})
                else:
                    kill_a_backend(postmaster, workers, chance)
                with findings.recovery():
                    await_ready(server)
                findings.changed.append(ledger.judge(before, worlds))
            eventually(lambda: ledger.value(RUNNING) == 0, START_SECONDS)
            assert server.process.poll() is None
            assert supervisor_of(data_dir) == supervisor
        everything = servers_of(data_dir)
        commands = [command for pid, (_, command) in processes().items() if pid in everything]
        assert sum("/postgres -D" in command for command in commands) == 1
        assert_all_well(server, ledger, worlds)
    await_end(everything)
    findings.report()


def kill_a_backend(postmaster: int, workers: set[int], chance: random.Random) -> None:
    """Kill a backend and return once the postmaster has ended the others."""
    while not gone(workers):  # what was about to end by itself may be hit when it already had
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(chance.choice(backends_of(postmaster)), signal.SIGKILL)
        with contextlib.suppress(AssertionError):
            eventually(lambda: gone(workers), within=1)


def backends_of(postmaster: int) -> list[int]:
    """Return the backends of coingraph's connections."""
    table = sorted(processes().items())
    return [
        pid
        for pid, (parent, command) in table
        if parent == postmaster and "coingraph coingraph" in command
    ]

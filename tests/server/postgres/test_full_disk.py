"""The disk of the embedded database is full for a while."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.postgres_processes import servers_of
from tests.server.server_process import COMMAND, SMALL, environment
from tests.server.system.killable_server import (
    await_end,
    await_ready,
    ledger_of,
    rebuild,
    serving,
    settings_of,
)
from tests.server.system.upstreams import run_worlds

pytestmark = [
    pytest.mark.endurance,
    pytest.mark.skipif(sys.platform != "linux", reason="about a disk made for it on Linux"),
]
PRICES = '{ latestPrices(coins: ["bitcoin"]) { price } coins { nodes { id } } }'


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small separate disk."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here: that takes root, and a container that may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607 - where mount was


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Fill the disk during the block."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    yield
    ballast.unlink()


def test_a_disk_that_becomes_full(disk: Path) -> None:
    ledger = ledger_of(disk)
    with run_worlds() as worlds:
        with serving(disk, worlds) as server:
            server.await_line("refresh ended")
            everything = servers_of(disk / "data")
            with filled(disk), server.client() as http:
                before = ledger.read()
                worlds.turn()
                assert rebuild(server) in {"FAILED", "UNAVAILABLE"}
                assert http.post("/graphql", json={"query": PRICES}).status_code == 200
                assert http.get("/health/ready").status_code == 200, "it answers all that reads"
            ledger.judge(before, worlds)
            assert rebuild(server) == "SUCCEEDED"
            ledger.assert_equal(worlds)
            server.process.kill()
        await_end(everything)
        with filled(disk):
            done = subprocess.run(
                COMMAND,
                env=environment(SMALL | settings_of(disk, worlds)),
                cwd=disk,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 2
            [line] = done.stderr.splitlines()
            assert "No space left on device" in line
        worlds.turn()
        with serving(disk, worlds) as server:
            await_ready(server)
            assert rebuild(server) == "SUCCEEDED"
            ledger.assert_equal(worlds)

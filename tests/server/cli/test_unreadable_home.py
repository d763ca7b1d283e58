"""A HOME of another account, as a mount may have it, and unreadable files."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from simulator import Simulator
from tests.server.postgres_processes import eventually
from tests.server.proxy import proxy_to
from tests.server.server_process import COMMAND, SMALL, START_SECONDS, environment, served
from tests.serving import in_thread

pytestmark = pytest.mark.processes

_STRANGER = 12345
_CAPABILITIES = "-dac_override,-dac_read_search"


def unprivileged() -> list[str]:
    """The prefix of a command that drops root's read access; empty for other users."""
    if os.geteuid() != 0:
        return []
    program = shutil.which("setpriv")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no setpriv, and CI must have one")
        pytest.skip("root reads everything, and there is no setpriv: install util-linux")
    return [program, f"--bounding-set={_CAPABILITIES}", f"--inh-caps={_CAPABILITIES}"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder that the account of the server may not enter."""
    folder = tmp_path / "home"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, _STRANGER, _STRANGER)
        folder.chmod(0o700)
    else:
        folder.chmod(0)
    probe = [*unprivileged(), sys.executable, "-c", f"import os; os.stat({str(folder / 'x')!r})"]
    failed = subprocess.run(probe, capture_output=True, text=True, check=False)
    assert "PermissionError" in failed.stderr
    yield folder
    folder.chmod(0o700)


@pytest.mark.parametrize("mode", ["prefer", "allow"])
def test_an_unreadable_home_does_not_prevent_readiness(
    home: Path, tmp_path: Path, database_url: str, shared_simulator: Simulator, mode: str
) -> None:
    """Over TCP asyncpg searches HOME for a client certificate."""
    with in_thread(proxy_to(database_url)) as proxy:
        settings = {
            "HOME": str(home),
            "PGSSLMODE": mode,
            "DATABASE_URL": proxy.url,
            "COINGECKO_BASE_URL": shared_simulator.base_url,
        }
        with served(tmp_path, by=unprivileged(), **settings) as server:

            def ready() -> bool:
                assert server.lines("waiting for the database") == []
                return httpx.get(f"{server.url}/health/ready").status_code == 200

            eventually(ready, START_SECONDS)


@pytest.mark.endurance
@pytest.mark.parametrize("command", ["serve", "migrate", "status", "refresh"])
@pytest.mark.parametrize("name", ["PGSSLKEY", "PGSSLCERT", "PGSSLROOTCERT"])
def test_a_certificate_that_cannot_be_read_is_named(
    home: Path, tmp_path: Path, command: str, name: str
) -> None:
    url = "postgresql://user@127.0.0.1:1/prices"
    given = {name: str(home / "client.pem"), "DATABASE_URL": url, "HOME": str(home)}
    ran = subprocess.run(
        [*unprivileged(), *COMMAND[:-1], command],
        cwd=tmp_path,
        env=environment(SMALL | given),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    [line] = ran.stderr.splitlines()
    assert ran.returncode == 2
    assert line.startswith(f"coingraph: {name}: {home / 'client.pem'} cannot be read: Permission")

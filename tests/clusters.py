"""PostgreSQL servers for one test, from Debian's packages, and PgBouncer in front of one."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.postgres_processes import eventually

_START_SECONDS = 60.0


def missing(what: str) -> None:
    """Skip a test because a program is missing; in CI, fail."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing; .ci/run is to install it")
    pytest.skip(f"{what} is not installed")


def binaries() -> Path:
    """Return the folder of Debian's newest PostgreSQL, which supports TLS."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        missing("Debian's PostgreSQL")
    return max(found, key=lambda path: int(path.parent.name))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_ordinary() -> dict[str, Any]:
    """Return arguments of subprocess that drop root, as PostgreSQL requires."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if not os.getuid() else {}


@contextlib.contextmanager
def ordinary_folder() -> Iterator[Path]:
    """Make a folder of an ordinary user, at a path that it can access."""
    folder = Path(tempfile.mkdtemp(prefix="coingraph-"))
    if not os.getuid():
        shutil.chown(folder, "postgres", "postgres")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """A PostgreSQL server on a port of 127.0.0.1, whose superuser is `postgres`."""

    def __init__(self, folder: Path) -> None:
        self.bin = binaries()
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()

    def run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.bin / program, *arguments],
            **as_ordinary(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not done.returncode, done.stdout

    def create(self, *hba: str) -> None:
        """Create an empty cluster that trusts all connections, after these lines of pg_hba.conf."""
        self.run(
            "initdb", "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--locale=C",
            "--no-sync", "--auth=trust",
        )  # fmt: skip
        trusted = (self.data / "pg_hba.conf").read_text()
        (self.data / "pg_hba.conf").write_text("\n".join((*hba, trusted)))
        self.configure(
            f"port={self.port}",
            "listen_addresses='127.0.0.1'",
            f"unix_socket_directories='{self.folder}'",
            "fsync=off",
        )

    def copy_of(self, primary: "Cluster") -> None:
        """Become a standby of a running server."""
        where = f"host=127.0.0.1 port={primary.port} user=postgres"
        self.run("pg_basebackup", "-D", str(self.data), "-d", where, "-R", "-X", "stream", "-cfast")
        self.configure(f"port={self.port}", f"unix_socket_directories='{self.folder}'")

    def configure(self, *lines: str) -> None:
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("\n".join(("", *lines, "")))

    def start(self) -> None:
        log = str(self.folder / f"log-{self.port}")
        self.run("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-t", "60", "start")

    def stop(self, mode: str = "immediate") -> None:
        if (self.data / "postmaster.pid").exists():
            self.run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    def promote(self) -> None:
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "promote")

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def running_cluster(*lines: str, hba: tuple[str, ...] = ()) -> Iterator[Cluster]:
    """Run a new server for the block, with these lines in its postgresql.conf."""
    with ordinary_folder() as folder:
        cluster = Cluster(folder)
        cluster.create(*hba)
        cluster.configure(*lines)
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


@contextlib.contextmanager
def pgbouncer(cluster: Cluster, *lines: str) -> Iterator[int]:
    """Run PgBouncer in front of a server, with extra configuration lines; yield its port."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        missing("PgBouncer")
    assert program
    port = free_port()
    with ordinary_folder() as folder:
        users = folder / "users"
        users.write_text('"postgres" ""\n')
        config = folder / "pgbouncer.ini"
        config.write_text(
            "\n".join(
                (
                    "[databases]",
                    f"* = host=127.0.0.1 port={cluster.port}",
                    "[pgbouncer]",
                    "listen_addr = 127.0.0.1",
                    f"listen_port = {port}",
                    "unix_socket_dir =",
                    "auth_type = trust",
                    f"auth_file = {users}",
                    *lines,
                    "",
                )
            )
        )
        for file in (users, config):
            file.chmod(0o644)
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen([program, str(config)], stderr=log, **as_ordinary()) as process,
        ):
            try:
                eventually(lambda: _listens(port), _START_SECONDS)
                yield port
            finally:
                process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return not probe.connect_ex(("127.0.0.1", port))

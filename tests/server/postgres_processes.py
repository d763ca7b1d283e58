"""The processes of the embedded PostgreSQL, and other processes that use it."""

import asyncio
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from server.postgres.embedded import EmbeddedPostgres

ROOT = Path(__file__).parent.parent.parent

# Prints the socket's folder once it uses the database, and goes when its input ends.
USER = """
import sys
from pathlib import Path
from server.postgres.embedded import EmbeddedPostgres
embedded = EmbeddedPostgres(Path(sys.argv[1]))
with embedded:
    print(embedded.socket_dir, flush=True)
    sys.stdin.read()
"""


class User:
    """Another process that uses the database in `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )

    def await_use(self) -> Path:
        assert self.process.stdout
        return Path(self.process.stdout.readline().decode().rstrip("\n"))

    def leave(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def query(socket_dir: Path, sql: str) -> Any:
    async def ask() -> object:
        connection = await asyncpg.connect(
            host=str(socket_dir), port=5432, user="coingraph", database="coingraph"
        )
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    return asyncio.run(ask())


def answer_at(url: str) -> object:
    """Return the result of `answer`, connecting like the application."""

    async def ask() -> object:
        engine = create_async_engine(url, poolclass=NullPool)
        async with engine.connect() as connection:
            return await connection.scalar(text("SELECT answer FROM kept"))

    return asyncio.run(ask())


def eventually(condition: Callable[[], object], within: float = 60) -> None:
    until = time.monotonic() + within
    while not condition():
        assert time.monotonic() < until, f"not within {within} s"
        time.sleep(0.01)


def processes() -> dict[int, tuple[int, str]]:
    """Return all processes as PID: (parent, command line)."""
    table = subprocess.check_output(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,command="],  # noqa: S607 - wherever the system has it
        text=True,
        errors="replace",
    )
    rows = [line.split(None, 2) for line in table.splitlines()]
    return {int(row[0]): (int(row[1]), row[2]) for row in rows if len(row) == 3}


def supervisor_of(data_dir: Path) -> int:
    return next(
        pid
        for pid, (_, command) in processes().items()
        if "server.postgres.supervisor" in command and str(data_dir) in command
    )


def postmaster_of(data_dir: Path) -> int:
    """Return the PID of the postmaster, 0 if none runs."""
    try:
        return int((data_dir / "postgres/cluster/postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return 0


def servers_of(data_dir: Path) -> set[int]:
    """Return the PIDs of the supervisor and its descendants."""
    found, table = {supervisor_of(data_dir)}, processes()
    while below := {pid for pid, (parent, _) in table.items() if parent in found} - found:
        found |= below
    return found


def gone(pids: set[int]) -> bool:
    """Return True if none of these processes runs; a zombie does not count."""
    if not any(exists(pid) for pid in pids):  # which is cheaper to learn
        return True
    table = processes()
    return all("defunct" in table[pid][1] for pid in pids if pid in table)


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def make_data_dir(data_dir: Path) -> Path:
    embedded = EmbeddedPostgres(data_dir)
    with embedded:
        query(embedded.socket_dir, "CREATE TABLE kept AS SELECT 42 AS answer")
    return data_dir


def answer(embedded: EmbeddedPostgres) -> object:
    return query(embedded.socket_dir, "SELECT answer FROM kept")


def is_private(folder: Path) -> bool:
    return stat.S_IMODE(folder.stat().st_mode) == 0o700

"""`coingraph serve` in its own processes, observed from outside."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from tests.server.postgres_processes import ROOT, eventually, gone, processes
from tests.serving import PATIENCE, TOKEN

COMMAND = (sys.executable, "-c", "from server.cli.main import main; main()", "serve")
SMALL = {
    "PORT": "0",
    "LOG_FORMAT": "json",
    "REFRESH_TOKENS": TOKEN,
    "COINGECKO_REQUESTS_PER_MINUTE": "600000",
    "COINS": "bitcoin,ethereum",
    "CURRENCIES": "usd",
    "HISTORY_DAYS": "3",
}
START_SECONDS = 120.0  # with other tests on the same machine


class Served:
    """A running server; its log is JSON."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def lines(self, event: str) -> list[dict[str, Any]]:
        text = self.log.read_bytes().rpartition(b"\n")[0].decode()  # the last line may be half
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def await_line(self, event: str) -> dict[str, Any]:
        eventually(lambda: self.lines(event), START_SECONDS)
        return self.lines(event)[0]

    @property
    def url(self) -> str:
        return str(self.await_line("serving")["url"]).removesuffix("/graphql")

    def ready(self) -> set[int]:
        """Return the PIDs of the workers that serve."""
        pids = {line["worker"] for line in self.lines("Application startup complete.")}
        return {pid for pid in pids if not gone({pid})}

    def await_workers(self, count: int) -> set[int]:
        eventually(lambda: len(self.ready()) == count, START_SECONDS)
        return self.ready()

    def await_request(self, request_id: str) -> dict[str, Any]:
        """Wait for the log line of the request with this id."""

        def found() -> list[dict[str, Any]]:
            return [line for line in self.lines("request") if line.get("request_id") == request_id]

        eventually(found)
        return found()[0]

    def healthcheck(self, **settings: str) -> int:
        """Run the container's health check until it responds; return its exit status."""
        script = [sys.executable, "-I", str(ROOT / "deploy" / "healthcheck.py")]
        return subprocess.run(script, env=settings, capture_output=True, check=False).returncode

    def children(self) -> set[int]:
        return {pid for pid, (parent, _) in processes().items() if parent == self.process.pid}

    def client(self) -> httpx.Client:
        """A client with one connection, so of one worker."""
        return httpx.Client(
            base_url=self.url,
            timeout=PATIENCE,
            limits=httpx.Limits(max_connections=1),
            trust_env=False,
        )

    def worker_of(self, client: httpx.Client) -> int:
        """Send a query; return the PID of the worker that answered."""
        mark = uuid4().hex
        client.get("/health/live", headers={"X-Request-ID": mark}).raise_for_status()

        def shown() -> list[int]:
            return [r["worker"] for r in self.lines("request") if r["request_id"] == mark]

        eventually(shown)
        return shown()[0]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program under test: settings and coverage variables."""
    names = ("PATH", "HOME", "TMPDIR", "COVERAGE_PROCESS_CONFIG")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(given)


@contextlib.contextmanager
def served(
    folder: Path, *arguments: str, by: Sequence[str] = (), **settings: str
) -> Iterator[Served]:
    """Serve during the block, in a process group like a terminal's.

    `by` is a program that runs the command.
    """
    log = folder / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [*by, *COMMAND, *arguments],
            cwd=folder,
            env=environment(SMALL | settings),
            stderr=stderr,
            start_new_session=True,
        ) as process,
    ):
        server = Served(process, log)
        try:
            yield server
        finally:
            if process.poll() is None:
                process.kill()  # what it started must then end by itself; a test is about that

"""Servers under measurement: starting, stopping, and what they use of the machine."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.options import ROOT
from benchmarks.questions import Ask

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_ANSWER_SECONDS = 60.0
_SAMPLE_SECONDS = 0.1
# Nothing else of the environment: the settings of the user must not reach a server.
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
MIB = 2**20


class StartError(Exception):
    """A server did not start; the text says where its log is."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    name: str
    url: str
    process: psutil.Process


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Give what a program of ours needs, and `given`."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(given)


def coingraph(*arguments: str) -> list[str]:
    """The command as its console script runs it, in this very Python."""
    return [sys.executable, "-c", "from server.cli.main import main; main()", *arguments]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def server(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    port: int,
    ready: Ask,
    folder: Path,
) -> Iterator[Running]:
    """Run a server until the block ends; it is ready once `ready` is answered with 200."""
    url = f"http://127.0.0.1:{port}"
    path = folder / f"{name.replace(' ', '-').lower()}.log"
    with (
        path.open("wb") as log,
        subprocess.Popen(  # noqa: S603 - our own programs
            command, cwd=folder, env=clean_environment(environment), stdout=log, stderr=log
        ) as process,
    ):
        try:
            _wait_until_ready(process, url, ready, path)
            yield Running(name, url, psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, ready: Ask, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise StartError(f"{process.args!r} ended at once; its log: {log}")
        with contextlib.suppress(httpx.HTTPError):
            if send(url, ready).status_code == httpx.codes.OK:
                return
        time.sleep(0.05)
    raise StartError(f"{process.args!r} is not ready after {_START_SECONDS:.0f} s; its log: {log}")


def send(url: str, ask: Ask) -> httpx.Response:
    """Ask a server once, uncompressed as the load generator does."""
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    return httpx.request(
        ask.method, url + ask.path, content=ask.body, headers=headers, timeout=_ANSWER_SECONDS
    )


@dataclass(slots=True)
class Usage:
    """CPU seconds, user and system together, and the most memory seen (RSS, bytes)."""

    cpu: float = 0.0
    postgres_cpu: float = 0.0
    memory: int = 0


@contextlib.contextmanager
def watched(process: psutil.Process, postmaster: psutil.Process | None) -> Iterator[Usage]:
    """Measure what a server, its children and PostgreSQL use while the block runs."""
    usage, done = Usage(), threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            usage.memory = max(usage.memory, memory(process))

    thread = threading.Thread(target=sample, daemon=True)
    cpu, postgres_cpu = _cpu(process), _cpu(postmaster)
    thread.start()
    try:
        yield usage
    finally:
        done.set()
        thread.join()
        usage.cpu = _cpu(process) - cpu
        usage.postgres_cpu = max(0.0, _cpu(postmaster) - postgres_cpu)
        usage.memory = max(usage.memory, memory(process))


def memory(process: psutil.Process) -> int:
    """RSS of a process and its children, in bytes."""
    return sum(each.memory_info().rss for each in _family(process))


def _cpu(process: psutil.Process | None) -> float:
    total = 0.0
    for each in _family(process) if process else []:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            # those of children that have ended, too, such as a connection's backend
            ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
            total += times.user + times.system + ended
    return total


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]

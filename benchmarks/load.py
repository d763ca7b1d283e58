"""The load generator: wrk where it is installed, else one of our own on asyncio."""

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import wire
from benchmarks.options import CONNECTIONS, HERE
from benchmarks.processes import clean_environment
from benchmarks.questions import Ask

_TIMEOUT = "60s"
_REFUSED_FROM = 400


@dataclass(frozen=True, slots=True)
class Load:
    """What a generator counted. Latencies are milliseconds; `bytes` includes headers."""

    requests: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    broken: int
    refused: int

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: a server, and a file with a line for each request (see wrk.lua)."""

    url: str
    method: str
    path: str
    lines: Path

    @classmethod
    def of(cls, url: str, asks: Sequence[Ask], file: Path) -> "Target":
        """Write the file. All requests have one method, and one path where that is POST."""
        file.write_text("\n".join(ask.line for ask in asks) + "\n")
        return cls(url, asks[0].method, asks[0].path, file)


def generator() -> str:
    """Name the generator that is used here."""
    program = shutil.which("wrk")
    if program is None:
        return "asyncio (wrk is not installed: rates above some 2,000/s are the generator's own)"
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False)  # noqa: S603 - the load generator we found
    return " ".join((said.stdout + said.stderr).split()[:2])


def run(target: Target, seconds: float, first: int, connections: int = CONNECTIONS) -> Load:
    """Send the file's lines from number `first` on, repeatedly, for `seconds`."""
    program = shutil.which("wrk")
    if program is None:
        return _run_own(target, seconds, first, connections)
    command = [program, "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--timeout", _TIMEOUT]
    command += ["-s", str(HERE / "wrk.lua"), target.url, "--"]
    command += [target.method, target.path, str(target.lines), str(first)]
    said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - the load generator we found
    return _read(next(line for line in said.stdout.splitlines() if line.startswith("MEASURED ")))


def _read(line: str) -> Load:
    """Decode what wrk.lua and our own generator write."""
    said = json.loads(line.removeprefix("MEASURED "))
    return Load(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        bytes=said["bytes"],
        p50=said["p50"] / 1e3,
        p99=said["p99"] / 1e3,
        broken=said["broken"],
        refused=said["refused"],
    )


def _run_own(target: Target, seconds: float, first: int, connections: int) -> Load:
    address = urlsplit(target.url).netloc
    command = [sys.executable, "-m", "benchmarks.load", f"http://{address}", target.method]
    command += [target.path, str(target.lines), str(first), str(seconds), str(connections)]
    said = subprocess.run(  # noqa: S603 - ourselves
        command, env=clean_environment({}), capture_output=True, text=True, check=True
    )
    return _read(said.stdout)


async def generate(target: Target, seconds: float, first: int, connections: int) -> Load:
    """Keep `connections` busy, each sending its next request when it has its answer."""
    lines, number = target.lines.read_text().splitlines(), count(first)
    until = time.perf_counter() + seconds
    latencies: list[float] = []
    refused = broken = size = 0

    async def client() -> None:
        nonlocal refused, broken, size
        connection = await wire.connect(target.url)
        while (start := time.perf_counter()) < until:
            line = lines[next(number) % len(lines)]
            ask = Ask(line) if target.method == "GET" else Ask(target.path, line.encode())
            try:
                answer = await connection.send(ask)
            except ConnectionError:
                broken += 1
                connection = await wire.connect(target.url)
                continue
            latencies.append((time.perf_counter() - start) * 1e3)
            refused += answer.status >= _REFUSED_FROM
            size += len(answer.body)
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(connections)))
    spent = time.perf_counter() - start
    latencies.sort()
    p50, p99 = (quantile(latencies or [0.0], share) for share in (0.5, 0.99))
    return Load(len(latencies), spent, size, p50, p99, broken, refused)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least of these rising values that `share` of them do not pass."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _main(
    url: str, method: str, path: str, lines: str, first: str, seconds: str, connections: str
) -> None:
    target = Target(url, method, path, Path(lines))
    load = asyncio.run(generate(target, float(seconds), int(first), int(connections)))
    said = {
        "requests": load.requests,
        "microseconds": round(load.seconds * 1e6),
        "bytes": load.bytes,
        "p50": round(load.p50 * 1e3),
        "p99": round(load.p99 * 1e3),
        "broken": load.broken,
        "refused": load.refused,
    }
    print(f"MEASURED {json.dumps(said)}")  # noqa: T201 - read by our parent


if __name__ == "__main__":
    _main(*sys.argv[1:])

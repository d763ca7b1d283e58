"""Attacks of one anonymous address, one by one and together, while honest clients work."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context

from benchmarks.behaved import CLIENTS, Behaved, behave
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.load import quantile
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import MIB, Running, memory, watched
from benchmarks.questions import STRAWBERRY, Ask
from benchmarks.siege.attacker import ORIGINS, PROXY, Origin
from benchmarks.siege.attacks import ATTACKS, attack
from benchmarks.siege.upstream import hostile_upstream
from simulator import SimulatorOptions, run_simulator

_TOGETHER = "all together"
_UPSTREAM = "10 a hostile upstream"
_P99, _MIB, _BACK = 250, 400, 1.25
_BACK_SECONDS = 60.0
_TITLE = f"{CLIENTS} well-behaved clients during a siege"
_HEADER = (
    *("attack", "from", "requests", "errors", "median ms", "p99 ms", "max ms"),
    *("MiB before", "most", "after", "back after s"),
)
SETTINGS = {
    "TRUSTED_PROXIES": PROXY,
    "RATE_LIMIT_POINTS": "15000000",  # as docs/security.md advises
    "COINGECKO_REQUESTS_PER_MINUTE": "600000",
    "LIVE_EVERY": "2s",  # so that subscriptions have events
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one attack did: to the well-behaved, and to the process's memory in bytes."""

    name: str
    origin: str
    behaved: Behaved
    before: int
    most: int
    after: int
    seconds: float  # until the memory was back, or for as long as it was waited for
    said: Counter[str]

    @property
    def p99(self) -> float:
        return quantile(sorted(self.behaved.latencies), 0.99)

    @property
    def row(self) -> list[str]:
        rising = sorted(self.behaved.latencies)
        shown = (quantile(rising, 0.5), self.p99, rising[-1])
        sizes = (self.before / MIB, self.most / MIB, self.after / MIB, self.seconds)
        counts = [f"{len(rising):,}", str(self.behaved.errors.total())]
        return [self.name, self.origin, *counts, *(f"{each:.0f}" for each in (*shown, *sizes))]


class Siege:
    """Starts a server for each attack, so that none finds what another one left."""

    def __init__(self, laboratory: Laboratory, database_url: str) -> None:
        self._laboratory = laboratory
        self._place = laboratory.place(database_url)
        self._asks: list[Ask] = [STRAWBERRY.currencies, STRAWBERRY.coins]
        self._asks += [STRAWBERRY.prices(laboratory.recent(number)) for number in range(20)]
        self._quick = laboratory.options.quick
        self.seconds = 3.0 if self._quick else 10.0

    def alone(self, upstream: str) -> Seen:
        return self._measure("none", Origin("–"), (), {"COINGECKO_BASE_URL": upstream})

    def each(self, upstream: str) -> Iterator[Seen]:
        """Make each attack from each origin; in haste from one, which changes from row to row."""
        for number, name in enumerate(ATTACKS):
            origins = ORIGINS[number % 2 :][:1] if self._quick else ORIGINS
            for origin in origins:
                yield self._measure(name, origin, [name], {"COINGECKO_BASE_URL": upstream})

    def together(self, upstream: str) -> Iterator[Seen]:
        for origin in ORIGINS:
            yield self._measure(
                _TOGETHER, origin, [*ATTACKS], {"COINGECKO_BASE_URL": upstream}, times=3
            )

    def upstream(self) -> Seen:
        """Let upstream attack: nobody asks for a refresh, the server does by itself."""
        with hostile_upstream() as url:
            coins = ",".join(f"besieged-{number}" for number in range(8))  # not loaded yet
            more = {"COINGECKO_BASE_URL": url, "REFRESH_EVERY": "2s", "COINS": coins}
            return self._measure(_UPSTREAM, Origin("upstream"), (), more, times=4)

    def _measure(
        self,
        name: str,
        origin: Origin,
        names: Sequence[str],
        settings: dict[str, str],
        times: int = 1,
    ) -> Seen:
        seconds = self.seconds * times
        with ExitStack() as stack:
            server = stack.enter_context(COINGRAPH.start(self._place, **SETTINGS, **settings))
            asyncio.run(behave(server.url, self._asks, 2))  # what is kept is kept then
            before = memory(server.process)
            usage = stack.enter_context(watched(server.process, None))
            # the attackers are another process, so that they slow nobody down but the server
            pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
            pool.submit(time.monotonic).result()  # it has started then
            attacking = pool.submit(attack, server.url, origin, names, seconds)
            behaved = asyncio.run(behave(server.url, self._asks, seconds))
            said = attacking.result()
            waited, after = self._wait(server, before)
        seen = Seen(name, origin.name, behaved, before, usage.memory, after, waited, said)
        sys.stderr.write(f"  {' | '.join(seen.row)}\n")  # one row a minute is slow to wait for
        return seen

    def _wait(self, server: Running, before: int) -> tuple[float, int]:
        """Wait until the memory is back: for how many seconds, and what it then is."""
        begun = time.monotonic()
        while (now := memory(server.process)) > _BACK * before:
            if time.monotonic() - begun > _BACK_SECONDS / (6 if self._quick else 1):
                break
            time.sleep(0.5)
        return time.monotonic() - begun, now


def run(laboratory: Laboratory) -> Section:
    with laboratory.copy("besieged") as url, run_simulator(SimulatorOptions()) as simulator:
        siege = Siege(laboratory, url)
        alone = siege.alone(simulator.base_url)
        found = [*siege.each(simulator.base_url), siege.upstream()]
        found += siege.together(simulator.base_url)
    remark = (
        f"{siege.seconds:.0f} s for each attack, three times that for all together, each on a "
        "server of its own with `RATE_LIMIT_POINTS=15000000`. The number stands for the kind of "
        "attack: benchmarks/README.md has them. A /64 is many addresses behind a trusted proxy. "
        f"Memory is back within {_BACK} × of that before. What came of the attacks:\n"
    )
    lines = [f"- {seen.name}, {seen.origin}: {_written(seen)}" for seen in found]
    rows = [seen.row for seen in (alone, *found)]
    return Section(_TITLE, _HEADER, rows, _figures(found), [remark + "\n" + "\n".join(lines)])


def _figures(found: list[Seen]) -> list[Figure]:
    errors = max(found, key=lambda seen: seen.behaved.errors.total())
    slowest = max(found, key=lambda seen: seen.p99)
    largest = max(found, key=lambda seen: seen.most)
    left = max(found, key=lambda seen: seen.after / seen.before)
    total = sum(seen.behaved.errors.total() for seen in found)
    given = [
        ("errors: 0", total, 0, "", errors),
        (f"p99 < {_P99} ms", slowest.p99, _P99, "ms", slowest),
        (f"memory ≤ {_MIB} MiB", largest.most / MIB, _MIB, "MiB", largest),
        (f"memory back within 60 s: ≤ {_BACK} ×", left.after / left.before, _BACK, "×", left),
    ]
    return [
        Figure(_TITLE, target, value, limit, unit, at_most=True, note=_named(seen))
        for target, value, limit, unit, seen in given
    ]


def _named(seen: Seen) -> str:
    return f"worst: {seen.name}, {seen.origin}"


def _written(seen: Seen) -> str:
    said = [f"{name} × {count:,}" for name, count in seen.said.most_common(5)]
    errors = [f"{name} × {count:,}" for name, count in seen.behaved.errors.most_common(3)]
    return ", ".join(said) + ("; the well-behaved saw: " + ", ".join(errors) if errors else "")

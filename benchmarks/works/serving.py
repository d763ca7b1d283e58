"""The works of all servers: answering one kind of request on eight connections."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import orjson

from benchmarks import load
from benchmarks.databases import COINS, HOURS
from benchmarks.figures import Figure, Section, rounded
from benchmarks.laboratory import Laboratory
from benchmarks.load import Load, Target
from benchmarks.options import CONNECTIONS
from benchmarks.peers import catalog
from benchmarks.peers.catalog import COINGRAPH, Peer
from benchmarks.processes import MIB, Running, Usage, send, watched
from benchmarks.questions import Ask

_DIFFERENT_RANGES = 60_000
_CHECKED = (0, 1, 4_321)  # numbers of the ranges whose responses are compared


class DifferentAnswersError(Exception):
    """Two servers answer the same request differently, or one of them refuses it."""


@dataclass(frozen=True, slots=True)
class Promise:
    """`least` times the rate of another server; `text` is the line of the table of figures."""

    peer: Peer
    least: float
    text: str


@dataclass(frozen=True, slots=True)
class Work:
    title: str
    asks: Callable[[Laboratory, Peer], Sequence[Ask]]
    promises: Sequence[Promise]
    peers: Sequence[Peer] = catalog.PEERS


@dataclass(frozen=True, slots=True)
class Sample:
    """One server in one round."""

    load: Load
    usage: Usage

    @property
    def cpu(self) -> float:
        """CPU seconds per thousand requests."""
        return self.usage.cpu / self.load.requests * 1_000

    @property
    def postgres_cpu(self) -> float:
        return self.usage.postgres_cpu / self.load.requests * 1_000


def _different(laboratory: Laboratory, peer: Peer) -> list[Ask]:
    return [peer.language.prices(laboratory.range(n)) for n in range(_DIFFERENT_RANGES)]


def _same(laboratory: Laboratory, peer: Peer) -> list[Ask]:
    return [peer.language.prices(laboratory.range(0))]


WORKS = {
    "uncached": Work(
        f"{HOURS:,} hourly points, a different range each request",
        _different,
        (
            Promise(catalog.POSTGRAPHILE, 5, "≥ 5 × PostGraphile"),
            Promise(catalog.STARLETTE, 2, "≥ 2 × hand-written Starlette, asyncpg, orjson"),
            Promise(catalog.STRAWBERRY, 25, "≥ 25 × stock Strawberry"),
        ),
        tuple(peer for peer in catalog.PEERS if peer is not catalog.BARE),
    ),
    "recent": Work(
        f"{HOURS:,} hourly points of the last days, a different range each request",
        lambda laboratory, peer: [
            peer.language.prices(laboratory.recent(n, "ethereum")) for n in range(_DIFFERENT_RANGES)
        ],
        (),
        (catalog.COINGRAPH, catalog.UNKEPT),
    ),
    "cached": Work(
        f"{HOURS:,} hourly points, the same query again",
        _same,
        (
            Promise(catalog.POSTGRAPHILE, 60, "≥ 60 × PostGraphile"),
            Promise(catalog.BARE, 0.6, "≥ 0.6 × a bare Starlette route with the same bytes"),
        ),
    ),
    "trivial": Work(
        "a trivial query: the currencies' codes",
        lambda _, peer: [peer.language.currencies],
        (Promise(catalog.BARE, 0.35, "≥ 0.35 × a bare Starlette route with the same bytes"),),
    ),
    "coins": Work(
        f"{COINS} coins with their latest price",
        lambda _, peer: [peer.language.coins],
        (Promise(catalog.POSTGRAPHILE, 3, "≥ 3 × PostGraphile"),),
    ),
}


def run(laboratory: Laboratory, name: str) -> Section:
    """Measure all servers in turn, several times."""
    work = WORKS[name]
    with contextlib.ExitStack() as stack:
        servers = dict(started(laboratory, work.peers, stack))
        check(laboratory, servers)
        samples = _measure(laboratory, work, servers)
        cache = _cache_header(laboratory, work, servers[COINGRAPH])
    return _section(work, samples, cache)


def started(
    laboratory: Laboratory, peers: Sequence[Peer], stack: contextlib.ExitStack
) -> Iterator[tuple[Peer, Running]]:
    """Start coingraph, save its responses for the bare routes, then start the others."""
    coingraph = stack.enter_context(COINGRAPH.start(laboratory.place()))
    _keep_answers(laboratory, coingraph)
    yield COINGRAPH, coingraph
    for peer in peers:
        if peer is not COINGRAPH and catalog.missing(peer) is None:
            yield peer, stack.enter_context(peer.start(laboratory.place()))


def _keep_answers(laboratory: Laboratory, coingraph: Running) -> None:
    language = COINGRAPH.language
    for name, ask in (
        ("prices", language.prices(laboratory.range(0))),
        ("currencies", language.currencies),
        ("coins", language.coins),
    ):
        body = send(coingraph.url, ask).raise_for_status().content
        (laboratory.answers / f"{name}.json").write_bytes(body)


def check(laboratory: Laboratory, servers: Mapping[Peer, Running]) -> None:
    """Raise DifferentAnswersError unless all servers return equal values of the expected number."""
    ranges = [laboratory.range(number) for number in _CHECKED]
    expected: list[object] | None = None
    for peer, running in servers.items():
        if peer is catalog.BARE:
            continue  # returns what coingraph returned
        language = peer.language
        prices = [language.read_prices(_decoded(running, language.prices(r))) for r in ranges]
        coins = language.read_coins(_decoded(running, language.coins))
        said = [prices, language.read_currencies(_decoded(running, language.currencies)), coins]
        expected = expected or said
        if {len(points) for points in prices} != {HOURS} or len(coins) != COINS:
            raise DifferentAnswersError(f"{peer.name} does not give {HOURS} points, {COINS} coins")
        if said != expected:
            raise DifferentAnswersError(f"{peer.name} gives other values than coingraph")


def _decoded(running: Running, ask: Ask) -> object:
    answer = send(running.url, ask)
    body = orjson.loads(answer.content)
    if answer.is_error or (isinstance(body, dict) and body.get("errors")):
        raise DifferentAnswersError(f"{running.name}: {answer.text[:500]}")
    return body


def _measure(
    laboratory: Laboratory, work: Work, servers: Mapping[Peer, Running]
) -> dict[Peer, list[Sample]]:
    """Warm up each server, then measure in rounds, each server in turn within a round."""
    options = laboratory.options
    samples: dict[Peer, list[Sample]] = defaultdict(list)
    sent: dict[Peer, int] = defaultdict(int)
    targets = {
        peer: Target.of(running.url, work.asks(laboratory, peer), _file(laboratory, peer))
        for peer, running in servers.items()
    }
    for peer, target in targets.items():
        sent[peer] += load.run(target, options.warmup, 0).requests
    for _ in range(options.rounds):
        for peer, running in servers.items():
            with watched(running.process, laboratory.postmaster) as usage:
                counted = load.run(targets[peer], options.seconds, sent[peer])
            if counted.refused or counted.broken:
                raise DifferentAnswersError(f"{peer.name} refuses requests: {counted}")
            sent[peer] += counted.requests + CONNECTIONS  # those under way were sent too
            samples[peer].append(Sample(counted, usage))
    return samples


def _file(laboratory: Laboratory, peer: Peer) -> Path:
    return laboratory.options.folder / f"{peer.name.replace(' ', '-')}.lines"


def _cache_header(laboratory: Laboratory, work: Work, running: Running) -> str:
    ask = work.asks(laboratory, COINGRAPH)[0]
    return str(send(running.url, ask).headers.get("x-cache", ""))


HEADER = (
    "server", "requests/s", "min–max", "coingraph is", "median ms", "p99 ms",
    "CPU s / 1,000", "PostgreSQL's", "memory MiB",
)  # fmt: skip


def _section(work: Work, samples: Mapping[Peer, Sequence[Sample]], cache: str) -> Section:
    rates = {peer: median(s.load.rate for s in taken) for peer, taken in samples.items()}
    own = rates[COINGRAPH]
    rows = [_row(peer, samples[peer], own) for peer in sorted(rates, key=rates.__getitem__)]
    rows += [
        [peer.name, f"– ({catalog.missing(peer)})", *[""] * (len(HEADER) - 2)]
        for peer in work.peers
        if peer not in samples
    ]
    figures = [
        Figure(work.title, promise.text, _ratio(own, rates.get(promise.peer)), promise.least)
        for promise in work.promises
    ]
    remarks = [f"coingraph's last answer said `X-Cache: {cache}`."] if cache else []
    return Section(work.title, HEADER, rows, figures, remarks)


def _ratio(own: float, other: float | None) -> float | None:
    return None if other is None else own / other


def _row(peer: Peer, taken: Sequence[Sample], own: float) -> list[str]:
    rates = [sample.load.rate for sample in taken]
    return [
        peer.name,
        f"{median(rates):,.1f}",
        f"{min(rates):,.1f}–{max(rates):,.1f}",
        f"{rounded(own / median(rates))} ×",
        f"{median(s.load.p50 for s in taken):.1f}",
        f"{median(s.load.p99 for s in taken):.1f}",
        f"{median(s.cpu for s in taken):.2f}",
        f"{median(s.postgres_cpu for s in taken):.2f}",
        f"{max(s.usage.memory for s in taken) / MIB:.0f}",
    ]

"""A routine refresh at a rate limit: its duration relative to the least that its calls take."""

import time
from statistics import median

import httpx

from benchmarks.databases import HISTORY_DAYS
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.peers.catalog import COINGRAPH
from simulator import run_simulator

_PER_MINUTE = 600
_TOKEN = "benchmark"  # noqa: S105 - of a server that lives for this measurement
_TIMEOUT = 120.0
_REFRESH = """
mutation { refreshPrices(input: { wait: true }) { run { status plannedCalls } } }
"""
_TITLE = f"a routine refresh of all series at {_PER_MINUTE} calls a minute"


class RefreshFailedError(Exception):
    """A refresh did not succeed."""


def run(laboratory: Laboratory) -> Section:
    settings = {
        "COINGECKO_REQUESTS_PER_MINUTE": str(_PER_MINUTE),
        "REFRESH_TOKENS": _TOKEN,
        "HISTORY_DAYS": str(HISTORY_DAYS),
    }
    with (
        laboratory.copy("refreshing") as url,
        run_simulator() as simulator,
        COINGRAPH.start(
            laboratory.place(url), COINGECKO_BASE_URL=simulator.base_url, **settings
        ) as server,
    ):
        taken = [_refresh(server.url) for _ in range(max(2, laboratory.options.rounds - 2))]
    rows = [
        [str(number), str(calls), f"{calls * 60 / _PER_MINUTE:.2f}", f"{seconds:.2f}",
         f"{_ratio(calls, seconds):.3f}"]
        for number, (calls, seconds) in enumerate(taken, 1)
    ]  # fmt: skip
    value = median(_ratio(*each) for each in taken)
    figure = Figure(_TITLE, "≤ 1.05 × (calls × interval)", value, 1.05, at_most=True)
    remark = (
        "From the request of `refreshPrices(wait: true)` to its answer; the simulator is the "
        "upstream. The throttle itself keeps 2 % more than the interval between two calls."
    )
    return Section(
        _TITLE, ("refresh", "calls", "calls × interval, s", "took, s", "ratio"), rows, [figure],
        [remark],
    )  # fmt: skip


def _ratio(calls: int, seconds: float) -> float:
    return seconds / (calls * 60 / _PER_MINUTE)


def _refresh(url: str) -> tuple[int, float]:
    """Refresh once. Returns the number of calls and the seconds."""
    begun = time.perf_counter()
    answer = httpx.post(
        f"{url}/graphql",
        json={"query": _REFRESH},
        headers={"Authorization": f"Bearer {_TOKEN}"},
        timeout=_TIMEOUT,
    )
    seconds = time.perf_counter() - begun
    done = answer.json()["data"]["refreshPrices"]["run"]
    if done["status"] != "SUCCEEDED":
        raise RefreshFailedError(str(done))
    return done["plannedCalls"], seconds

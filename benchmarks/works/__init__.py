"""The measurements, one module per kind of work."""

from collections.abc import Callable
from functools import partial

from benchmarks.figures import Section
from benchmarks.laboratory import Laboratory
from benchmarks.works import (
    aligned,
    analysis,
    following,
    growth,
    hits,
    hostile,
    live,
    memory,
    politeness,
    refreshing,
    serving,
    siege,
    storing,
    worst,
)

WORKS: dict[str, Callable[[Laboratory], Section]] = {
    **{name: partial(serving.run, name=name) for name in serving.WORKS},
    "storing": storing.run,
    "refresh": refreshing.run,
    "growth": growth.run,
    "memory": memory.run,
    "politeness": politeness.run,
    "aligned": aligned.run,
    "hits": hits.run,
    "analysis": analysis.run,
    "live": live.run,
    "latency": following.latency,
    "restart": following.restart,
    "hostile": hostile.run,
    "worst": worst.run,
    "siege": siege.run,
}

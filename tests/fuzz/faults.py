"""Faults of upstream: any fault of the simulator, on any route, for a while or for ever."""

from random import Random
from typing import Any, get_args

from simulator import Fault
from simulator.faults import FaultKind

COINS = ("bitcoin", "ethereum", "solana")
CURRENCIES = ("usd", "eur")
_PLACES = ["", "", "/market_chart/range", "/simple/price", "/coins/bitcoin", "/coins/markets"]


def faults(random: Random) -> list[Fault]:
    """Make the faults of one refresh."""
    return [_fault(random) for _ in range(random.choice([1, 1, 2, 3, 5]))]


def _fault(random: Random) -> Fault:
    kind = random.choice(get_args(FaultKind))
    return Fault(
        kind,
        path=random.choice(_PLACES),
        coin=random.choice(["", "", *COINS]),
        currency=random.choice(["", "", *CURRENCIES]),
        times=random.choice([1, 2, 3, 10, None]),
        seconds=0.0 if kind == "rate_limited" else random.choice([0.0, 0.02]),
        retry_after=random.choice(["seconds", "date"]),
        nested=random.random() < 0.5,
        status=random.choice([400, 401, 404, 429, 500, 503]) if random.random() < 0.1 else None,
        probability=random.choice([1.0, 0.5, 0.1]),
    )


def asked(random: Random) -> dict[str, Any]:
    """Make the arguments of a refresh."""
    request: dict[str, Any] = {}
    if random.random() < 0.3:
        request["coins"] = tuple(random.sample(COINS, random.choice([1, 2])))
    if random.random() < 0.2:
        request["currencies"] = (random.choice(CURRENCIES),)
    if random.random() < 0.3:
        request["days"] = random.choice([1, 2, 5])
    elif random.random() < 0.3:
        request["rebuild"] = True
    return request

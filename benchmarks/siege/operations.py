"""Attacks by operations that take longer than they cost."""

from datetime import UTC, datetime, timedelta

from benchmarks.siege.attacker import Attack, Attacker

_MANY = 40
_COINS = '"bitcoin", "ethereum", "tether", "ripple", "binancecoin", "solana"'
_SEARCHED = "x" * 95_000


def _times(number: int, field: str) -> str:
    return "{ " + " ".join(f"a{each}: {field}" for each in range(number)) + " }"


def _asking(connections: int, query: str, **variables: object) -> Attack:
    async def attack(attacker: Attacker) -> None:
        async def work() -> None:
            await attacker.asks(lambda: attacker.post(query, **variables))

        await attacker.many(connections, work)

    return attack


_RECENT = (datetime.now(UTC) - timedelta(hours=4)).isoformat(timespec="seconds")
_ANOMALIES = f'anomalies(from: "{_RECENT}") {{ timestamp price score }}'
_ALIGNED = (
    f"alignedPrices(coins: [{_COINS}], granularity: MONTH) {{ timestamps series {{ prices }} }}"
)
_SEARCH = "query($text: String!) " + _times(15, "coins(filter: {search: $text}) { totalCount }")
_DEAR = 'prices(coin: "bitcoin", first: 10000) { points { timestamp price } }'

# connections, and what is asked on each
QUERIES: dict[str, tuple[int, str]] = {
    f"6 dear operations of {_MANY} callers": (_MANY, _times(40, _DEAR)),
    "7 prices aligned by month": (8, _times(20, _ALIGNED)),
    "7 searches for 95,000 characters": (8, _SEARCH),
    "7 anomalies of hours": (8, _times(15, _ANOMALIES)),
    "7 plans": (8, _times(90, "refreshPlan { calls }")),
    "7 small plans": (8, _times(3, "refreshPlan { calls }")),
    "7 statuses": (8, _times(90, "seriesStatus { stale lastError }")),
    "7 runs": (8, _times(90, "refreshRuns { nodes { status error } }")),
    "9 searches for anomalies": (_MANY, "{ anomalies(window: 24) { timestamp price score } }"),
}
OPERATIONS: dict[str, Attack] = {
    name: _asking(connections, query, **({"text": _SEARCHED} if query == _SEARCH else {}))
    for name, (connections, query) in QUERIES.items()
}

"""Attacks by operations that take longer than they cost."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from benchmarks.siege.attacker import Attack, Attacker

_MANY = 40
_REFUSED = 400  # HTTP: OPERATION_TOO_COMPLEX
_COINS = '"bitcoin", "ethereum", "tether", "ripple", "binancecoin", "solana"'
_SEARCHED = "x" * 95_000


@dataclass(frozen=True, slots=True)
class Question:
    """A field, repeated in one operation, on several connections at once."""

    connections: int
    times: int
    field: str
    variables: str = ""

    def query(self, times: int) -> str:
        fields = " ".join(f"a{each}: {self.field}" for each in range(times))
        return f"query{self.variables} {{ {fields} }}"


def _asking(question: Question) -> Attack:
    """Ask as much at once as is admitted: less, for as long as it is too complex."""
    given = {"text": _SEARCHED} if question.variables else {}

    async def attack(attacker: Attacker) -> None:
        times = question.times

        async def work() -> None:
            nonlocal times
            now = times
            if await attacker.asks(lambda: attacker.post(question.query(now), **given)) == _REFUSED:
                times = max(1, min(times, now * 3 // 4))

        await attacker.many(question.connections, work)

    return attack


_RECENT = (datetime.now(UTC) - timedelta(hours=4)).isoformat(timespec="seconds")
_ANOMALIES = f'anomalies(from: "{_RECENT}") {{ timestamp price score }}'
_OLD = (datetime.now(UTC) - timedelta(days=90)).isoformat(timespec="seconds")
_SEARCHES = f'anomalies(coins: ["bitcoin"], from: "{_OLD}") {{ timestamp price score }}'
_ALIGNED = (
    f"alignedPrices(coins: [{_COINS}], granularity: MONTH) {{ timestamps series {{ prices }} }}"
)
_SEARCH = "coins(filter: {search: $text}) { totalCount }"
_EXPENSIVE = 'prices(coin: "bitcoin", first: 10000) { points { timestamp price } }'

QUESTIONS: dict[str, Question] = {
    f"6 expensive operations of {_MANY} callers": Question(_MANY, 70, _EXPENSIVE),
    "7 prices aligned by month": Question(8, 20, _ALIGNED),
    "7 searches for 95,000 characters": Question(8, 15, _SEARCH, "($text: String!)"),
    "7 anomalies of hours": Question(8, 15, _ANOMALIES),
    "7 plans": Question(8, 40, "refreshPlan { calls }"),
    "7 small plans": Question(8, 1, "refreshPlan { calls }"),
    "7 statuses": Question(8, 30, "seriesStatus { stale lastError }"),
    "7 runs": Question(8, 90, "refreshRuns { nodes { status error } }"),
    "9 searches for anomalies": Question(_MANY, 1, _SEARCHES),
}
OPERATIONS: dict[str, Attack] = {name: _asking(question) for name, question in QUESTIONS.items()}

"""Prices with one anomaly of each kind, and the expected anomalies."""

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.resolvers import reference_anomalies
from tests.resolvers.reference_anomalies import Key
from tests.serving import Client

COINS, CURRENCIES = ["a", "b", "c", "d"], ["eur", "gbp", "usd"]
KEYS = [(coin, currency) for coin in COINS for currency in CURRENCIES]
HOURS, FLASH, RATE, CRASH, LONELY, FROZEN = 150, 60, 75, 90, 105, 120
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUERY = """
    query ($coins: [ID!], $currencies: [ID!], $from: DateTime, $to: DateTime,
           $threshold: Float! = 4, $window: Int! = 24) {
      anomalies(coins: $coins, currencies: $currencies, from: $from, to: $to,
                threshold: $threshold, window: $window) {
        timestamp coin currency price changePercent logReturn expectedLogReturn score direction
        scope coinsAlike coinsCompared
      }
    }
"""


def story() -> dict[Key, dict[int, float]]:
    """Random walks with gaps and one anomaly of each kind."""
    dice = random.Random(5)  # noqa: S311 - prices, not secrets
    prices: dict[Key, dict[int, float]] = {}
    for coin, currency in KEYS:
        level = 10.0 ** dice.randint(-12, 12)
        series = prices[coin, currency] = {}
        for hour in range(HOURS):
            level *= math.exp(dice.gauss(0, 0.004))
            level *= 0.9 if hour == CRASH else 1
            level *= 1.1 if hour == RATE and currency == "usd" else 1
            level *= 1.2 if hour == LONELY and coin == "c" else 1
            series[hour] = level
    prices["b", "gbp"][FLASH] *= 3
    prices["d", "eur"].update(
        dict.fromkeys(range(FROZEN - 26, FROZEN), prices["d", "eur"][FROZEN - 26])
    )
    for number, key in enumerate(KEYS):
        del prices[key][30 + number]
    return prices


@dataclass(frozen=True, slots=True)
class AnomalyScenario:
    """A server with these prices; the hour numbered 0 begins at `start`."""

    server: Client
    start: datetime
    prices: dict[Key, dict[int, float]]

    def time(self, hour: int) -> str:
        return f"{self.start + timedelta(hours=hour):%Y-%m-%dT%H:%M:%SZ}"

    async def ask(self, **variables: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.server.data(QUERY, **variables))["anomalies"]
        return rows

    def expected(
        self, hours: range, threshold: float = 4, window: int = 24, asked: set[Key] | None = None
    ) -> list[dict[str, Any]]:
        rows = reference_anomalies.anomalies(self.prices, hours, threshold, window, asked)
        return [self._shown(**row) for row in rows]

    def _shown(self, hour: int, **row: Any) -> dict[str, Any]:
        before = self.prices[row["coin"], row["currency"]][hour - 1]
        row |= {"changePercent": (row["price"] / before - 1) * 100}
        return {"timestamp": self.time(hour)} | {
            name: pytest.approx(value, rel=1e-9, abs=1e-12) if isinstance(value, float) else value
            for name, value in row.items()
        }

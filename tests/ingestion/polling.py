"""What the tests of live polls have in common."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ingestion.coingecko.client import CoinGecko
from ingestion.jobs.live_prices import LivePoller
from ingestion.quota.credits import Credits
from ingestion.quota.throttle import Throttle
from models.postgres.database import Database
from simulator import Simulator
from tests.ingestion.running import Deployment

COINS, CURRENCIES = ("bitcoin", "ethereum"), ("usd", "eur")
NAMES = [f"{coin}/{currency}" for coin in COINS for currency in CURRENCIES]


async def leads() -> None:
    """Verify nothing: this process leads."""


def poller_of(
    database: Database,
    upstream: CoinGecko,
    *,
    every: float = 3600,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    coins: tuple[str, ...] = COINS,
    monthly: int | None = None,
) -> LivePoller:
    return LivePoller(
        database,
        upstream,
        coins=coins,
        currencies=CURRENCIES,
        every=timedelta(seconds=every),
        left=Credits(database, monthly),
        now=now,
    )


def upstream_of(simulator: Simulator) -> CoinGecko:
    throttle = Throttle(600_000, first_pause=0.01, max_pause=0.02)
    return CoinGecko(throttle=throttle, base_url=simulator.base_url, attempts=1)


async def latest(deployment: Deployment) -> dict[str, tuple[Any, ...]]:
    rows = await deployment.sql.fetch(
        "SELECT coin_id || '/' || currency_code, observed_at, price, market_cap, volume, "
        "change_24h FROM price_latest JOIN series ON id = series_id"
    )
    return {row[0]: tuple(row)[1:] for row in rows}

"""Factories that build components from Settings, for the application and the commands."""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from ingestion.coingecko.client import CoinGecko, offered_history
from ingestion.coingecko.urls import PRO_URL, PUBLIC_URL
from ingestion.quota.throttle import Throttle
from ingestion.run.refresher import Refresher
from models import coins as coin_rows
from models.history import TrackingScope
from models.postgres.database import POOL_SIZE, Database, DatabaseReadOnlyError
from models.postgres.migrate import migrate
from server.access.rate_limits import RateLimits, redis_storage
from server.bootstrap import seeds
from server.config.outbound import outbound_for
from server.config.settings import Settings
from server.logs import redact_in_logs

log = structlog.get_logger("coingraph.server")

# The pooled connections of all workers. Of PostgreSQL's default of 100, the rest is for refreshes,
# `coingraph refresh` and psql.
_POOLED_BY_ALL = 60


def make_database(settings: Settings, **more: Any) -> Database:  # noqa: ANN401 - Database's own
    """Make the database client; it connects at first use."""
    assert settings.database_url is not None  # noqa: S101 - `opened` sets it
    url, secret = settings.database_url.get_secret_value(), settings.database_secret()
    return Database(url, password=secret and partial(_password, secret), **more)


def _password(read: Callable[[], str | None]) -> str | None:
    """Read the password for a new connection and redact it in logs: it may have been rotated."""
    if password := read():
        redact_in_logs(password)
    return password


def make_upstream(settings: Settings, database: Database) -> CoinGecko:
    """Make the CoinGecko client."""
    key, base_url = settings.coingecko_api_key, upstream_url(settings)
    return CoinGecko(
        throttle=Throttle(settings.requests_per_minute, database=database),
        base_url=base_url,
        plan=settings.plan,
        api_key=key.get_secret_value() if key else None,
        outbound=outbound_for(base_url),
    )


def upstream_url(settings: Settings) -> str:
    """Return the base URL of CoinGecko for the plan, or COINGECKO_BASE_URL."""
    own_url = PRO_URL if settings.plan == "pro" else PUBLIC_URL
    return str(settings.coingecko_base_url or own_url)


def make_refresher(settings: Settings, database: Database, upstream: CoinGecko) -> Refresher:
    """Make the refresher of the tracked coins and currencies."""
    return Refresher(
        database,
        upstream,
        coins=settings.coins,
        currencies=settings.currencies,
        history_days=settings.history_days,
        monthly_credits=settings.coingecko_monthly_credits,
    )


def tracked_by(settings: Settings) -> TrackingScope:
    """Return the coins, currencies and history that the settings track."""
    return TrackingScope(
        settings.coins, settings.currencies, settings.history_days, offered_history(settings.plan)
    )


async def migrate_database(database: Database) -> None:
    """Check and migrate the database. Safe in several processes at once."""
    await database.check()
    if await migrate(database):
        log.info("database migrated")


async def prepare_database(settings: Settings, database: Database) -> bool:
    """Check, migrate and seed the database. Safe in several processes at once.

    Returns False if the database is migrated but read-only at the moment.
    Raises DatabaseUnavailableError, DatabaseRefusedError, UnsupportedServerError and
    NewerDatabaseError.
    """
    await migrate_database(database)
    try:
        async with database.write() as session:
            await coin_rows.seed(
                session, seeds.coins(settings.coins), seeds.currencies(settings.currencies)
            )
    except DatabaseReadOnlyError:
        return False
    return True


def make_rates(settings: Settings) -> RateLimits | None:
    """Make the rate limits, None without RATE_LIMIT_POINTS."""
    if not settings.rate_limit_points:
        return None
    url = settings.rate_limit_storage
    storage = redis_storage(url.get_secret_value()) if url else None
    return RateLimits(settings.rate_limit_points, storage)


def pool_size(workers: int, wanted: int | None = None) -> int:
    """Return the pool size of each worker, in connections; `wanted` if it is set."""
    return wanted or max(2, min(POOL_SIZE, _POOLED_BY_ALL // workers))

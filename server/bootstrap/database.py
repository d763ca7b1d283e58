"""Builds the database client from Settings, and prepares the database."""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from models import coins as coin_rows
from models.postgres.database import POOL_SIZE, Database, DatabaseReadOnlyError
from models.postgres.migrate import migrate
from server.bootstrap import seeds
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


def pool_size(workers: int, wanted: int | None = None) -> int:
    """Return the pool size of each worker, in connections; `wanted` if it is set."""
    return wanted or max(2, min(POOL_SIZE, _POOLED_BY_ALL // workers))

"""`coingraph status`."""

import asyncio
from datetime import UTC, datetime

from rich.table import Table

from models.postgres.migrate import check_migrated
from resolvers.cache_dependencies import CacheDependencies
from resolvers.series import SeriesFreshness
from resolvers.series import status as series_status
from server.bootstrap.factories import tracked_by
from server.cli.refresh_plan import table_console
from server.cli.startup import one_line_errors, opened, opened_database, read_settings
from server.config.settings import Settings


def status() -> int:
    """Print the freshness of each series; return the exit status."""
    with (
        one_line_errors(),
        opened(read_settings(log_level="warning"), writes=False) as (settings, _),
    ):
        rows = asyncio.run(_status(settings))
    now = datetime.now(UTC)
    table = Table("coin", "currency", "newest", "age", "stored hours", "revision", "", box=None)
    for freshness in rows:
        series, latest = freshness.row.series, freshness.row.latest
        kept = "-"
        if series.first_bucket and series.last_bucket:
            kept = f"{series.first_bucket:%Y-%m-%d} to {series.last_bucket:%Y-%m-%d %H}h"
        table.add_row(
            series.coin_id,
            series.currency_code,
            f"{latest.price:.12g}" if latest else "-",
            _age((now - latest.observed_at).total_seconds()) if latest else "-",
            kept,
            str(series.revision),
            _describe(freshness),
        )
    table_console().print(table)
    return 0


async def _status(settings: Settings) -> list[SeriesFreshness]:
    async with opened_database(settings) as database:
        await database.check()
        await check_migrated(database)
        return await series_status(
            database,
            CacheDependencies(),
            None,
            None,
            now=datetime.now(UTC),
            stale_after=settings.stale_after,
            tracked=tracked_by(settings),
        )


def _describe(freshness: SeriesFreshness) -> str:
    if freshness.reason:
        return f"stale: {freshness.reason}"
    return f"fresh, but: {freshness.lacking}" if freshness.lacking else "fresh"


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"

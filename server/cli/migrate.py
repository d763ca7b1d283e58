"""`coingraph migrate`. It needs the database alone, and no upstream client."""

import asyncio

from rich.console import Console

from models.postgres.migrate import newest_revision
from server.bootstrap.database import migrate_database
from server.cli.startup import one_line_errors, opened, opened_database, read_settings
from server.config.settings import Settings


def migrate() -> int:
    """Migrate the database; return the exit status."""
    with one_line_errors(), opened(read_settings()) as (settings, _):
        asyncio.run(_migrate(settings))
    Console(stderr=True).print(f"The database is at migration {newest_revision()}.")
    return 0


async def _migrate(settings: Settings) -> None:
    async with opened_database(settings) as database:
        await migrate_database(database)

"""`coingraph remove-coin`: deletes a coin that is no longer tracked, with its prices."""

import asyncio
import sys

import typer
from rich.table import Table

from models import runs
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database
from models.postgres.migrate import check_migrated
from models.removal import RowCount, count_rows_of_coin, remove_coin, servers_tracking_others
from server.cli.refresh_plan import table_console
from server.cli.startup import (
    CommandError,
    one_line_errors,
    opened,
    opened_database,
    read_settings,
)
from server.config.settings import Settings
from server.config.text import is_utf8


def remove(coin: str, *, yes: bool, dry_run: bool) -> int:
    """Show the rows of a coin, ask, and delete them; return the exit status."""
    coin = coin.strip().lower()
    with (
        one_line_errors(),
        opened(read_settings(log_level="warning"), writes=False) as (settings, _),
    ):
        if coin in settings.coins:
            raise CommandError(
                f"{coin!r} is tracked: take it out of COINS and restart the server first."
            )
        kept = asyncio.run(_kept(settings, coin)) if is_utf8(coin) else []
        if not kept:
            raise CommandError(f"There is no coin {coin!r}: `coingraph status` lists the coins.")
        _show(coin, kept)
        if dry_run:
            return 0
        if not (yes or _confirmed(coin)):
            raise CommandError("Nothing was deleted. Say yes, or give --yes.")
        asyncio.run(_remove(settings, coin))
        typer.echo(f"{coin} was removed.")
    return 0


async def _kept(settings: Settings, coin: str) -> list[RowCount]:
    async with opened_database(settings) as database:
        await check_migrated(database)
        async with database.read() as session:
            kept = await count_rows_of_coin(session, coin)
        if kept:
            await _check_servers(settings, database)
        return kept


async def _check_servers(settings: Settings, database: Database) -> None:
    if await servers_tracking_others(database, settings.coins):
        raise CommandError(
            "A server with other COINS runs on this database and may track this coin: run this "
            "command with that server's settings, or restart it with these."
        )


def _show(coin: str, kept: list[RowCount]) -> None:
    table = Table("table", "rows", title=f"Rows of {coin}", title_justify="left", box=None)
    for each in kept:
        table.add_row(each.table, f"{each.rows:,}")
    table_console().print(table)


def _confirmed(coin: str) -> bool:
    """Ask on a terminal; False without one."""
    return sys.stdin is not None and sys.stdin.isatty() and typer.confirm(f"Delete {coin}?")


async def _remove(settings: Settings, coin: str) -> None:
    async with (
        opened_database(settings) as database,
        AdvisoryLock(database, runs.REFRESH_LOCK) as lock,
    ):
        if not await lock.acquire():
            raise CommandError("A refresh is running: try again when it has ended.")
        await _check_servers(settings, database)
        async with database.write(seconds=None) as session:
            await remove_coin(session, coin)

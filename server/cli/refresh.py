"""`coingraph refresh`: runs one refresh, or follows a running one of another process."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ingestion.coingecko.errors import AccessRefused
from ingestion.run.refresher import BudgetExceededError, RefreshBusyError, Refresher, RefreshRequest
from models import runs
from models.postgres.database import Database
from models.postgres.migrate import check_migrated
from models.tables import ItemStatus, RefreshRun, RefreshStatus, RefreshTrigger
from server.bootstrap.database import prepare_database
from server.bootstrap.factories import make_refresher, make_upstream
from server.cli.refresh_plan import show_plan
from server.cli.startup import (
    CommandError,
    one_line_errors,
    opened,
    opened_database,
    read_settings,
)
from server.config.settings import Settings

_EXIT = {RefreshStatus.SUCCEEDED: 0, RefreshStatus.PARTIAL: 1}
_POLL_SECONDS = 0.2
_MOST_SHOWN = 10


def refresh(
    *,
    coins: str | None,
    currencies: str | None,
    days: int | None,
    rebuild: bool,
    only_due: bool,
    dry_run: bool,
) -> int:
    """Run one refresh; return the exit status."""
    with (
        one_line_errors(),
        opened(read_settings(log_level="warning"), writes=not dry_run) as (settings, _),
    ):
        wanted = RefreshRequest(
            _chosen(coins, settings.coins, "COINS"),
            _chosen(currencies, settings.currencies, "CURRENCIES"),
            days,
            rebuild,
            only_due,
        )
        return asyncio.run(_refresh(settings, wanted, dry_run=dry_run))


def _chosen(names: str | None, tracked: tuple[str, ...], setting: str) -> tuple[str, ...] | None:
    if names is None:
        return None
    chosen = tuple(name.strip().lower() for name in names.split(",") if name.strip())
    for name in chosen:
        if name not in tracked:
            raise CommandError(f"{name!r} is not tracked: add it to {setting}.")
    return chosen or None


@contextlib.asynccontextmanager
async def opened_refresher(
    settings: Settings, *, writes: bool
) -> AsyncIterator[tuple[Refresher, Database]]:
    """Open the database and yield a refresher; migrate and seed first if `writes`.

    Raises CommandError.
    """
    async with opened_database(settings) as database, make_upstream(settings, database) as upstream:
        await (prepare_database(settings, database) if writes else check_migrated(database))
        try:
            yield make_refresher(settings, database, upstream), database
        except (RefreshBusyError, BudgetExceededError, AccessRefused) as error:
            raise CommandError(str(error)) from None


async def _refresh(settings: Settings, wanted: RefreshRequest, *, dry_run: bool) -> int:
    console = Console(stderr=True, soft_wrap=True)
    async with opened_refresher(settings, writes=not dry_run) as (refresher, database):
        if dry_run:
            return show_plan(await refresher.estimate(wanted, seeded=False))
        loop, me = asyncio.get_running_loop(), asyncio.current_task()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, lambda: me and me.cancel())
        try:
            run = await _run(console, refresher, database, wanted)
        except asyncio.CancelledError:
            await refresher.interrupt()
            console.print("Interrupted. Stored prices stay; the next refresh continues from them.")
            return 2
        await _report(console, database, run)
        return _EXIT.get(RefreshStatus(run.status), 2)


async def _run(
    console: Console, refresher: Refresher, database: Database, wanted: RefreshRequest
) -> RefreshRun:
    """Start a run, or follow a running one that covers it. Raises RefreshBusyError."""
    run_id, started = await refresher.start(wanted, RefreshTrigger.COMMAND)
    if not started:
        console.print("A running refresh covers this one: following it.")
    run = await _follow(console, database, run_id)
    await refresher.wait(run_id)  # so that its lock is free when this command ends
    return run


async def _follow(console: Console, database: Database, run_id: UUID) -> RefreshRun:
    """Show the progress of a run until it has ended."""
    columns = (
        TextColumn("Refreshing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(
            "calls · {task.fields[rows]:,} rows · {task.fields[rate]} · {task.fields[left]}"
        ),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=not console.is_terminal) as progress:
        task = progress.add_task("refresh", total=None, rows=0, rate="", left="")
        while True:
            async with database.read() as session:
                run = (await runs.runs_by_id(session, [run_id]))[run_id]
            done = run.completed_calls + run.failed_calls
            now = datetime.now(UTC)
            elapsed = ((run.finished_at or now) - run.started_at).total_seconds()
            left = runs.seconds_left(run, now)
            progress.update(
                task,
                total=run.planned_calls,
                completed=done,
                rows=run.rows_inserted + run.rows_corrected,
                rate=f"{done * 60 / elapsed:,.0f} calls/min" if elapsed else "",
                left="done" if left is None else f"{left:,.0f} s left",
            )
            if run.status != RefreshStatus.RUNNING:
                return run
            await asyncio.sleep(_POLL_SECONDS)


async def _report(console: Console, database: Database, run: RefreshRun) -> None:
    if run.rows_inserted or run.rows_corrected:
        what = f"{run.rows_inserted:,} new hours, {run.rows_corrected:,} corrected"
    else:
        what = "nothing new"
    console.print(
        f"{run.status}: {what}, {run.duplicates_dropped:,} duplicates dropped, "
        f"{run.completed_calls} calls, {run.failed_calls} failed."
    )
    for said in filter(None, (run.error, run.note)):
        console.print(said, markup=False)
    async with database.read() as session:
        items = (await runs.items_of_runs(session, [run.id]))[run.id]
    bad = (ItemStatus.FAILED, ItemStatus.PARTIAL)
    failed = [(item, series) for item, series in items if item.status in bad]
    for item, series in failed[:_MOST_SHOWN]:
        if item.error != run.error:
            line = f"  {series.coin_id}/{series.currency_code}: {item.error}"
            console.print(line, markup=False)
    if len(failed) > _MOST_SHOWN:
        console.print(f"  … and {len(failed) - _MOST_SHOWN} more.")

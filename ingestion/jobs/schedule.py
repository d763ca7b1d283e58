"""Automatic refreshes: the first load of new series, and one refresh per period."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from ingestion.jobs.backoff import Backoff
from ingestion.planning.estimate import BudgetExceededError
from ingestion.run.refresher import RefreshBusyError, Refresher, RefreshRequest
from models import runs
from models.postgres.database import Database, DatabaseUnavailableError
from models.series import count_unloaded
from models.tables import RefreshRun, RefreshStatus, RefreshTrigger

log = structlog.get_logger("coingraph.schedule")

_LONGEST_SLEEP = 60.0  # seconds until it checks whether another refresh was requested meanwhile
# A run that began further in the future than this was recorded with a wrong clock.
_MOST_AHEAD = timedelta(hours=1)
_FIRST_BACKOFF, _LONGEST_BACKOFF = timedelta(minutes=2), timedelta(minutes=15)
_WHAT_IS_DUE = RefreshRequest(only_due=True)
_PASSING = (RefreshBusyError, BudgetExceededError, DatabaseUnavailableError)


class Schedule:
    """The refreshes that the leader of the deployment starts. Each run also takes a lock."""

    def __init__(self, database: Database, refresher: Refresher) -> None:
        self._database = database
        self._refresher = refresher
        self._startup_backoff = Backoff("first refresh")
        self._logged: datetime | None = None
        self._scheduled_backoff = Backoff("scheduled refresh")

    async def load_new(self, begun: asyncio.Event) -> None:
        """Refresh while series exist that no refresh has loaded; retry if the database is lost.

        Sets `begun` once such a run has started, or if there is nothing to load.
        """
        done = False
        while not done:
            try:
                done = await self._load_new(begun)
            except _PASSING as error:
                await asyncio.sleep(self._startup_backoff.failed(error))
            except Exception as error:  # noqa: BLE001 - the next attempt may succeed
                await asyncio.sleep(self._startup_backoff.failed(error, expected=False))
            else:
                self._startup_backoff.succeeded()

    async def _load_new(self, begun: asyncio.Event) -> bool:
        """Start a refresh if series are not loaded, and wait for its end. True if all is done."""
        tracked = self._refresher.coins, self._refresher.currencies
        # all series of a new database, the rest of an interrupted run, or those of a new coin
        unloaded = await count_unloaded(self._database, *tracked)
        if not unloaded:
            begun.set()
            return True
        log.info("series without prices: starting a refresh", series=unloaded)
        run_id, started = await self._refresher.start(_WHAT_IS_DUE, RefreshTrigger.STARTUP)
        if started:
            begun.set()
        await self._refresher.wait(run_id)
        if started and self._refresher.lost_database:
            raise DatabaseUnavailableError("The run lost the database.")
        return started  # a joined run may have covered other series, or may have been failing

    async def refresh_every(self, period: timedelta) -> None:
        """Refresh everything once per `period`, until cancelled."""
        while True:
            try:
                pause = await self._refresh_if_due(period)
            except _PASSING as error:
                pause = self._scheduled_backoff.failed(error)
            except Exception as error:  # noqa: BLE001 - the next attempt may succeed
                pause = self._scheduled_backoff.failed(error, expected=False)
            else:
                self._scheduled_backoff.succeeded()
            await asyncio.sleep(pause)

    async def _refresh_if_due(self, period: timedelta) -> float:
        """Run a refresh if one is due. Returns the seconds until the next check."""
        async with self._database.read() as session:
            now = datetime.now(UTC)
            before = now + min(period, _MOST_AHEAD)
            last = await runs.last_full_run(session, before)
            failures = await runs.failures_in_a_row(session, before)
        if last is not None and last.status == RefreshStatus.RUNNING:
            await self._refresher.wait(last.id)  # which also detects that its process was killed
            return 0.0
        seconds = seconds_until_due(last, max(period, pause_after_failures(failures)), now)
        if seconds > 0:
            self._log_due(last, seconds)
            return min(seconds, _LONGEST_SLEEP)
        run_id, started = await self._refresher.start(_WHAT_IS_DUE, RefreshTrigger.SCHEDULE)
        log.info("a scheduled refresh is due", run=str(run_id), started=started)
        # a joined run may not cover everything; then a refresh is still due after it
        await self._refresher.wait(run_id)
        return 0.0

    def _log_due(self, last: RefreshRun | None, seconds: float) -> None:
        """Log when the next refresh is due, once per refresh."""
        began = last.started_at if last else None
        if began != self._logged:
            log.info("the next refresh is due later", seconds=round(seconds))
        self._logged = began


def pause_after_failures(failures: int) -> timedelta:
    """Return the least time between the starts of two runs after consecutive failures.

    Frequent calls can prolong a ban or an outage.
    """
    if not failures:
        return timedelta(0)
    doublings: int = min(failures - 1, 16)
    return min(_FIRST_BACKOFF * (1 << doublings), _LONGEST_BACKOFF)


def seconds_until_due(last: RefreshRun | None, period: timedelta, now: datetime) -> float:
    """Return the seconds from `now` until a refresh is due: one period after the last one began.

    Missed periods are made up for by a single refresh.
    """
    if last is None:
        return 0.0
    return (period - (now - min(last.started_at, now))).total_seconds()

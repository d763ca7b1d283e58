"""Refreshes that nobody asks for: the first load, and one every so often."""

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

_LONGEST_SLEEP = 60.0  # then it looks whether somebody else has asked for a refresh meanwhile
# A run that began later than so long from now was begun by a clock that was wrong.
_MOST_AHEAD = timedelta(hours=1)
_FIRST_BACKOFF, _LONGEST_BACKOFF = timedelta(minutes=2), timedelta(minutes=15)
_WHAT_IS_DUE = RefreshRequest(only_due=True)
_PASSING = (RefreshBusyError, BudgetExceededError, DatabaseUnavailableError)


class Schedule:
    """What the leader of the deployment starts. A run has a lock of its own beside that."""

    def __init__(self, database: Database, refresher: Refresher) -> None:
        self._database = database
        self._refresher = refresher
        self._startup_backoff = Backoff("first refresh")
        self._told: datetime | None = None
        self._scheduled_backoff = Backoff("scheduled refresh")

    async def load_new(self, begun: asyncio.Event) -> None:
        """Refresh where a series has never had a refresh, again where that lost the database.

        `begun` is set once such a run has started, or there is nothing to load.
        """
        done = False
        while not done:
            try:
                done = await self._load_new(begun)
            except _PASSING as error:
                await asyncio.sleep(self._startup_backoff.failed(error))
            except Exception as error:  # noqa: BLE001 - whatever it was, the next try may do better
                await asyncio.sleep(self._startup_backoff.failed(error, expected=False))
            else:
                self._startup_backoff.succeeded()

    async def _load_new(self, begun: asyncio.Event) -> bool:
        """Start what is to be loaded, and wait for its end; tell whether that is all."""
        tracked = self._refresher.coins, self._refresher.currencies
        # all of them, those that an interrupted run left, or a new coin's
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
        return started  # one that was joined may have been of other series, or about to fail

    async def refresh_every(self, period: timedelta) -> None:
        """Start a refresh of everything every so often, until cancelled."""
        while True:
            try:
                pause = await self._refresh_if_due(period)
            except _PASSING as error:
                pause = self._scheduled_backoff.failed(error)
            except Exception as error:  # noqa: BLE001 - whatever it was, the next try may do better
                pause = self._scheduled_backoff.failed(error, expected=False)
            else:
                self._scheduled_backoff.succeeded()
            await asyncio.sleep(pause)

    async def _refresh_if_due(self, period: timedelta) -> float:
        """Start what is due, and wait for its end; tell for how long nothing is, in seconds."""
        async with self._database.read() as session:
            now = datetime.now(UTC)
            before = now + min(period, _MOST_AHEAD)
            last = await runs.last_full_run(session, before)
            failures = await runs.failures_in_a_row(session, before)
        if last is not None and last.status == RefreshStatus.RUNNING:
            await self._refresher.wait(last.id)  # which also notes that its process was killed
            return 0.0
        seconds = seconds_until_due(last, max(period, pause_after_failures(failures)), now)
        if seconds > 0:
            self._tell(last, seconds)
            return min(seconds, _LONGEST_SLEEP)
        run_id, started = await self._refresher.start(_WHAT_IS_DUE, RefreshTrigger.SCHEDULE)
        log.info("a scheduled refresh is due", run=str(run_id), started=started)
        # what was joined may not be of everything: then this one is still due after it
        await self._refresher.wait(run_id)
        return 0.0

    def _tell(self, last: RefreshRun | None, seconds: float) -> None:
        """Log when the next one is due, once after each."""
        began = last.started_at if last else None
        if began != self._told:
            log.info("the next refresh is due later", seconds=round(seconds))
        self._told = began


def pause_after_failures(failures: int) -> timedelta:
    """Tell how long after the beginning of a run the next one may begin, where so many in a row
    have failed: a ban or an outage lasts the longer the more it is asked whether it is over.
    """
    if not failures:
        return timedelta(0)
    doublings: int = min(failures - 1, 16)
    return min(_FIRST_BACKOFF * (1 << doublings), _LONGEST_BACKOFF)


def seconds_until_due(last: RefreshRun | None, period: timedelta, now: datetime) -> float:
    """Tell how long after `now` a refresh is due: one period after the last one began.

    However many periods have passed without one, one makes up for them.
    """
    if last is None:
        return 0.0
    return (period - (now - min(last.started_at, now))).total_seconds()

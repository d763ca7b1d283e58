"""Writes the results of a refresh run: prices and the run's progress, in one transaction each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import structlog

from ingestion.coingecko.types import CoinProfile
from ingestion.planning.windows import SHORTEST_WINDOW, Reason, SeriesPlan
from ingestion.run.buckets import Bucketed
from ingestion.run.call_counters import CallCounters
from ingestion.run.fetcher import AGAIN, NEARLY_WHOLE, Fetched, FetchedDays
from ingestion.run.notes import RunNotes, dropped_from_charts, removed_by_rebuild
from models import runs
from models.coins import save_profile
from models.history import floor_day
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database, DatabaseUnavailableError, WriteSession
from models.prices.gaps import AskedRange
from models.prices.write_gaps import store_asked_days, store_asked_hours
from models.prices.write_latest import NewestPrice, store_quotes
from models.prices.write_series import store_daily, store_series
from models.runs import prune_runs
from models.series import record_failure
from models.tables import ItemStatus, RefreshStatus

log = structlog.get_logger("coingraph.refresh")

_FINISH_PAUSE = 0.5
# The share of hours or days that a rebuild may lose. CoinGecko lacks one hour in a hundred and
# withdraws fewer; if more are missing, its response is probably incomplete.
_MOST_LOST = 0.1


class RunRecorder:
    """Writes for one run, one transaction at a time.

    Each transaction first verifies `lock`. `pace` returns the present seconds between two calls.
    Callers add the cost of their calls to `call_counters`, and notes to `notes`. All methods raise
    DatabaseUnavailableError unless stated otherwise.
    """

    def __init__(
        self, database: Database, lock: AdvisoryLock, run_id: UUID, pace: Callable[[], float]
    ) -> None:
        self._database = database
        self._lock = lock
        self._run_id = run_id
        self._pace = pace
        self.call_counters = CallCounters()
        self.notes = RunNotes()
        self._writing = asyncio.Lock()

    async def store_newest_prices(self, newest: list[NewestPrice], calls: int) -> None:
        """Store the newest prices of many series, which took `calls` calls."""
        async with self._transaction() as session:
            await store_quotes(session, newest)
            await self._add(session, completed_calls=calls)

    async def store_series(
        self, plan: SeriesPlan, fetched: Fetched, bucketed: Bucketed, problem: str | None
    ) -> None:
        """Store the hours of one series; a rebuild also removes all other hours in its range.

        `problem` describes what the responses lack; the item is PARTIAL then. Raises
        ReplacementTooSmallError if a rebuild would lose too much of what is stored.
        """
        series_id = plan.state.series_id
        self.notes.add_series(series_id, dropped_from_charts(fetched.charts))
        async with self._transaction() as session:
            stored = await store_series(
                session,
                series_id,
                bucketed.hours,
                _newest(series_id, bucketed),
                asked_from=fetched.known_from,
                replace_from=fetched.full_from if plan.reason is Reason.REBUILD else None,
                most_lost=_MOST_LOST,
                asked=fetched.asked,
            )
            rows = {
                "rows_inserted": stored.inserted,
                "rows_corrected": stored.corrected,
                "duplicates_dropped": bucketed.duplicates,
            }
            note = self.notes.add_series(series_id, removed_by_rebuild(stored.removed, "hour"))
            status = ItemStatus.PARTIAL if problem else ItemStatus.SUCCEEDED
            await self._finish_item(session, series_id, status, problem, note=note, **rows)
            await self._add(session, series_id, **_calls(plan, fetched), **rows)
        log.debug("series stored", series=series_id, revision=stored.revision, **rows)
        if note:
            log.warning("values dropped or removed", **_name(plan), note=note)

    async def record_no_prices(self, plan: SeriesPlan, fetched: Fetched, message: str) -> None:
        """Record a series without prices as failed, with the ranges that were requested."""
        series_id = plan.state.series_id
        async with self._transaction() as session:
            await store_asked_hours(session, series_id, fetched.asked)
            await record_failure(session, series_id, message)
            await self._finish_item(session, series_id, ItemStatus.FAILED, message)
            await self._add(session, series_id, **_calls(plan, fetched))

    async def record_failure(
        self, plan: SeriesPlan, message: str, asked: Sequence[AskedRange] = ()
    ) -> None:
        """Record why a series failed. Its stored prices do not change.

        `asked` are the ranges that upstream reported to lack.
        """
        series_id = plan.state.series_id
        async with self._transaction() as session:
            await store_asked_hours(session, series_id, asked)
            await record_failure(session, series_id, message)
            await self._finish_item(session, series_id, ItemStatus.FAILED, message)
            await self._add(session, series_id, failed_calls=len(plan.windows))

    async def record_deferral(self, plan: SeriesPlan, message: str) -> None:
        """Record why a series was not requested."""
        async with self._transaction() as session:
            await self._finish_item(session, plan.state.series_id, ItemStatus.FAILED, message)
            await self._add(session)

    async def store_days(self, plan: SeriesPlan, fetched: FetchedDays) -> bool:
        """Store the daily points of one series for days without hours, and the missing days.

        Returns False if the response lacks too many days, which is then in the item's error.
        Raises ReplacementTooSmallError if a rebuild would lose too much of what is stored.
        """
        series_id, replace = plan.state.series_id, plan.reason is Reason.REBUILD
        window, problem = fetched.window, fetched.problem
        # the newest days are computed from the hours that every refresh fetches
        asked = AskedRange(
            window.start, floor_day(window.end - SHORTEST_WINDOW), window.end, problem is None
        )
        async with self._transaction() as session:
            if problem is None:
                _, removed = await store_daily(
                    session,
                    series_id,
                    fetched.points,
                    asked_from=window.start,
                    replace=replace,
                    most_lost=_MOST_LOST,
                )
                self.notes.add_series(series_id, removed_by_rebuild(removed, "day"))
            there, wanted = await store_asked_days(session, series_id, asked)
            if problem is None and there < NEARLY_WHOLE * wanted and not plan.state.days_begin:
                problem = f"CoinGecko sent {there:,} of {wanted:,} days: {AGAIN}"
            await self._note_costs(session, series_id)
            if problem:
                await self._append_error(session, series_id, problem)
            if len(fetched.points):
                await runs.mark_partial(session, self._run_id, series_id)
            failed = int(fetched.problem is not None)
            await self._add(session, series_id, completed_calls=1 - failed, failed_calls=failed)
        log.debug("daily history stored", series=series_id, days=there)
        return problem is None

    async def record_missing_days(self, plan: SeriesPlan, message: str | None) -> None:
        """Count a call for days that failed; `message` is None if it was not made."""
        series_id = plan.state.series_id
        async with self._transaction() as session:
            await self._note_costs(session, series_id)
            if message:
                await self._append_error(session, series_id, message)
            await self._add(session, series_id, failed_calls=1)

    async def store_profile(self, coin_id: str, profile: CoinProfile) -> None:
        """Store a coin's names and metadata."""
        metadata = {
            "description": profile.description,
            "image_url": profile.image_url,
            "website_url": profile.website_url,
        }
        async with self._transaction() as session:
            await save_profile(
                session, coin_id, symbol=profile.symbol, name=profile.name, metadata=metadata
            )
            await self._add(session, completed_calls=1)

    async def count_failed_calls(self, *, calls: int = 1) -> None:
        """Count failed calls that belong to no series."""
        async with self._transaction() as session:
            await self._add(session, failed_calls=calls)

    async def finish(self, status: RefreshStatus, error: str | None) -> None:
        """Write the end of the run. Retries until the database is available."""
        while not await self._finished(status, error):  # noqa: ASYNC110 - PostgreSQL's return is no event
            await asyncio.sleep(_FINISH_PAUSE)
        log.info("refresh ended", status=status, error=error)

    async def _finished(self, status: RefreshStatus, error: str | None) -> bool:
        """Write the end of the run. Returns False if the database is unavailable."""
        try:
            async with self._database.write() as session:
                costs = self.call_counters.unwritten()  # of series that were interrupted
                await runs.note_costs(session, self._run_id, costs)
                await self._add(session, *costs)
                await runs.finish_run(session, self._run_id, status, error)
        except DatabaseUnavailableError:
            self.call_counters.rewrite()
            return False
        return True

    async def prune_runs(self) -> None:
        """Delete the oldest runs. A failure is logged and does not affect this run."""
        try:
            async with self._database.write() as session:
                pruned = await prune_runs(session)
        except Exception:
            log.exception("old runs could not be deleted")
        else:
            if pruned:
                log.info("old runs deleted", runs=pruned)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[WriteSession]:
        async with self._writing:
            await self._lock.verify()  # without the lock, another run may be writing
            try:
                async with self._database.write() as session:
                    yield session
            except BaseException:
                self.call_counters.rewrite()
                raise

    async def _finish_item(
        self,
        session: WriteSession,
        series_id: int,
        status: ItemStatus,
        error: str | None,
        **values: int | str | None,
    ) -> None:
        cost = self.call_counters.item(series_id)
        await runs.finish_item(
            session, self._run_id, series_id, status, error=error, **cost, **values
        )

    async def _append_error(self, session: WriteSession, series_id: int, message: str) -> None:
        await runs.append_error(session, self._run_id, series_id, message)

    async def _note_costs(self, session: WriteSession, series_id: int) -> None:
        known = {
            **self.call_counters.item(series_id),
            "note": self.notes.add_series(series_id, None),
        }
        await runs.note_costs(session, self._run_id, {series_id: known})

    async def _add(self, session: WriteSession, *series_ids: int, **counters: int) -> None:
        """Add to the run's counters, and update its costs with those of these series."""
        known = {
            "seconds_per_call": self._pace(),
            "note": self.notes.run,
            **self.call_counters.run(*series_ids),
        }
        await runs.add_progress(session, self._run_id, known, **counters)


def _name(plan: SeriesPlan) -> dict[str, str]:
    return {"coin": plan.state.coin_id, "currency": plan.state.currency_code}


def _calls(plan: SeriesPlan, fetched: Fetched) -> dict[str, int]:
    """Count the calls for a series' hours; those for `rest` come on top of the planned ones."""
    made, unmade = len(fetched.answered), len(fetched.refused)
    more = max(0, made + unmade - len(plan.windows))
    return {"completed_calls": made, "failed_calls": unmade, "planned_calls": more}


def _newest(series_id: int, bucketed: Bucketed) -> NewestPrice | None:
    seen = bucketed.newest
    if seen is None:
        return None
    return NewestPrice(series_id, seen.observed_at, seen.price, seen.market_cap, seen.volume)

"""What a refresh run writes: prices, and what became of them, in the same transaction."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import structlog

from ingestion.buckets import Bucketed
from ingestion.planner import Reason, SeriesPlan
from ingestion.samples import CoinProfile
from models import runs
from models.coins import save_profile
from models.database import AdvisoryLock, Database, DatabaseUnavailableError, WriteSession
from models.price_writes import Newest, store_quotes, store_series
from models.series import record_failure
from models.tables import ItemStatus, RefreshStatus

log = structlog.get_logger("coingraph.refresh")

_FINISH_TRIES = 20
_FINISH_PAUSE = 0.5


class Journal:
    """Writes for one run, one series at a time. `pace` tells the seconds between two calls."""

    def __init__(
        self, database: Database, lock: AdvisoryLock, run_id: UUID, pace: Callable[[], float]
    ) -> None:
        self._database = database
        self._lock = lock
        self._run_id = run_id
        self._pace = pace
        self._writing = asyncio.Lock()

    async def quotes(self, newest: list[Newest]) -> None:
        """Store the newest prices of many series, which one call brought."""
        async with self._database.write() as session:
            await store_quotes(session, newest)
            await self._add(session, completed_calls=1)

    async def series(
        self, plan: SeriesPlan, bucketed: Bucketed, *, calls: int, refusal: str | None
    ) -> None:
        """Store one series whole. `refusal` says why the older windows are not among it."""
        start = plan.windows[calls - 1].start if refusal else plan.start
        async with self._writing:
            await self._lock.verify()  # without the lock, another run may be writing
            async with self._database.write() as session:
                stored = await store_series(
                    session,
                    plan.state.series_id,
                    bucketed.hours,
                    _newest(plan, bucketed),
                    asked_from=start,
                    replace_from=start if plan.reason is Reason.REBUILD else None,
                )
                rows = {
                    "rows_inserted": stored.inserted,
                    "rows_corrected": stored.corrected,
                    "duplicates_dropped": bucketed.duplicates,
                }
                if refusal:
                    await record_failure(session, plan.state.series_id, refusal)
                await self._finish_item(session, plan, refusal, calls, rows)
                unmade = len(plan.windows) - calls
                await self._add(session, completed_calls=calls, failed_calls=unmade, **rows)
        log.debug("series stored", series=plan.state.series_id, revision=stored.revision, **rows)

    async def failure(self, plan: SeriesPlan, message: str) -> None:
        """Note why a series failed; its stored prices stay as they are."""
        async with self._writing, self._database.write() as session:
            await record_failure(session, plan.state.series_id, message)
            await self._finish_item(session, plan, message, 0, {})
            await self._add(session, failed_calls=len(plan.windows))

    async def profile(self, coin_id: str, profile: CoinProfile) -> None:
        metadata = {
            "description": profile.description,
            "image_url": profile.image_url,
            "website_url": profile.website_url,
        }
        async with self._database.write() as session:
            await save_profile(
                session, coin_id, symbol=profile.symbol, name=profile.name, metadata=metadata
            )
            await self._add(session, completed_calls=1)

    async def count(self, **counters: int) -> None:
        async with self._database.write() as session:
            await self._add(session, **counters)

    async def finish(self, status: RefreshStatus, error: str | None) -> None:
        """Write the end of the run, patiently: the database may be restarting."""
        for _ in range(_FINISH_TRIES):
            try:
                async with self._database.write() as session:
                    await runs.finish_run(session, self._run_id, status, error)
            except DatabaseUnavailableError:
                await asyncio.sleep(_FINISH_PAUSE)
            else:
                log.info("refresh ended", status=status, error=error)
                return
        log.error("the end of the run could not be written; the next run will mark it")

    async def _finish_item(
        self,
        session: WriteSession,
        plan: SeriesPlan,
        error: str | None,
        calls: int,
        rows: dict[str, int],
    ) -> None:
        status = ItemStatus.FAILED if error else ItemStatus.SUCCEEDED
        await runs.finish_item(
            session, self._run_id, plan.state.series_id, status, error=error, calls=calls, **rows
        )

    async def _add(self, session: WriteSession, **counters: int) -> None:
        await runs.add_progress(session, self._run_id, self._pace(), **counters)


def _newest(plan: SeriesPlan, bucketed: Bucketed) -> Newest | None:
    seen = bucketed.newest
    if seen is None:
        return None
    return Newest(plan.state.series_id, seen.observed_at, seen.price, seen.market_cap, seen.volume)

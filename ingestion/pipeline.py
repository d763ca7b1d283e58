"""One refresh run from start to end: fetch, bucket, store; several calls in flight, one writer."""

import asyncio
import difflib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog

from ingestion.buckets import Bucketed, bucket_hours
from ingestion.coingecko import CoinGecko
from ingestion.errors import AccessRefused, HistoryTooLong, NotFound, UpstreamError
from ingestion.planner import Reason, SeriesPlan, Window
from ingestion.samples import CallStats, Chart
from models import runs
from models.coins import save_profile
from models.database import AdvisoryLock, Database, DatabaseUnavailableError, WriteSession
from models.price_writes import Newest, store_quotes, store_series
from models.series import record_failure
from models.tables import ItemStatus, RefreshStatus

log = structlog.get_logger("coingraph.refresh")

_FETCHERS = 4
_FINISH_TRIES = 20
_FINISH_PAUSE = 0.5


class Pipeline:
    """Works through the plans of one run. The caller holds the lock of the deployment."""

    def __init__(
        self, database: Database, upstream: CoinGecko, lock: AdvisoryLock, run_id: UUID
    ) -> None:
        self._database = database
        self._upstream = upstream
        self._lock = lock
        self._run_id = run_id
        self._writing = asyncio.Lock()
        self._unknown: dict[str, str] = {}
        self._succeeded = 0
        self._failed = 0

    async def run(self, plans: Sequence[SeriesPlan], metadata: Sequence[str]) -> None:
        """Do all of it and write how it ended. Raises nothing but CancelledError."""
        structlog.contextvars.bind_contextvars(run=str(self._run_id))
        log.info("refresh started", series=len(plans), metadata=len(metadata))
        try:
            await self._quotes(plans)
            await self._all_series(plans)
            await self._profiles(metadata)
        except asyncio.CancelledError:
            await asyncio.shield(self._finish(RefreshStatus.INTERRUPTED, "The server was stopped."))
            raise
        except (AccessRefused, DatabaseUnavailableError) as error:
            await self._finish(RefreshStatus.FAILED, str(error))
        except Exception:
            log.exception("refresh failed")
            await self._finish(RefreshStatus.FAILED, "Internal error; see the server's log.")
        else:
            await self._finish(self._outcome(), None)

    def _outcome(self) -> RefreshStatus:
        if not self._failed:
            return RefreshStatus.SUCCEEDED
        return RefreshStatus.PARTIAL if self._succeeded else RefreshStatus.FAILED

    async def _quotes(self, plans: Sequence[SeriesPlan]) -> None:
        """Bring every newest price with one call, before the long work begins."""
        if not plans:
            return
        series = {(p.state.coin_id, p.state.currency_code): p.state.series_id for p in plans}
        coins = list(dict.fromkeys(coin for coin, _ in series))
        currencies = list(dict.fromkeys(currency for _, currency in series))
        try:
            quotes = await self._upstream.simple_price(coins, currencies)
        except AccessRefused:
            raise
        except UpstreamError as error:
            log.warning("newest prices failed", error=str(error))
            await self._count(failed_calls=1)
            return
        missing = [f"{coin}/{currency}" for coin, currency in quotes.missing]
        if missing:
            log.warning("upstream left out newest prices", missing=missing)
        newest = [
            Newest(
                series_id=series[quote.coin_id, quote.currency_code],
                observed_at=quote.observed_at,
                price=quote.price,
                market_cap=quote.market_cap,
                volume=quote.volume,
                change_24h=quote.change_24h,
            )
            for quote in quotes.found
            if (quote.coin_id, quote.currency_code) in series
        ]
        async with self._database.write() as session:
            await store_quotes(session, newest)
            await self._add(session, completed_calls=1)

    async def _all_series(self, plans: Sequence[SeriesPlan]) -> None:
        queue = iter(plans)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_FETCHERS):
                    group.create_task(self._work_off(queue))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _work_off(self, queue: Iterator[SeriesPlan]) -> None:
        for plan in queue:
            try:
                await self._one_series(plan)
            except (AccessRefused, DatabaseUnavailableError):
                raise
            except UpstreamError as error:
                await self._fail(plan, error)

    async def _one_series(self, plan: SeriesPlan) -> None:
        """Fetch a series whole, then store it whole."""
        state, stats = plan.state, CallStats()
        if state.coin_id in self._unknown:
            raise NotFound(self._unknown[state.coin_id])
        charts: list[Chart] = []
        start, refusal = plan.start, None
        for number, window in enumerate(plan.windows):
            # The newest window reaches to the moment of its call, not to that of the plan.
            end = max(window.end, datetime.now(UTC)) if number == 0 else window.end
            try:
                chart = await self._upstream.market_chart_range(
                    state.coin_id, state.currency_code, window.start, end, stats=stats
                )
            except HistoryTooLong as error:
                if not charts:
                    raise
                start, refusal = plan.windows[number - 1].start, error
                break
            charts.append(chart)
        bucketed = bucket_hours(charts, start, datetime.now(UTC))
        if plan.reason is Reason.REBUILD and not len(bucketed.hours):
            raise UpstreamError("CoinGecko sent no prices: the series was left as it is.")
        await self._store(plan, bucketed, start, len(charts), refusal)
        if refusal:
            self._failed += 1
        else:
            self._succeeded += 1

    async def _store(
        self,
        plan: SeriesPlan,
        bucketed: Bucketed,
        start: datetime,
        calls: int,
        refusal: HistoryTooLong | None,
    ) -> None:
        """Write one series and what became of it, in one transaction."""
        series_id, newest = plan.state.series_id, bucketed.newest
        async with self._writing:
            await self._lock.verify()
            async with self._database.write() as session:
                stored = await store_series(
                    session,
                    series_id,
                    bucketed.hours,
                    Newest(
                        series_id,
                        newest.observed_at,
                        newest.price,
                        newest.market_cap,
                        newest.volume,
                    )
                    if newest
                    else None,
                    asked_from=start,
                    replace_from=start if plan.reason is Reason.REBUILD else None,
                )
                rows = {
                    "rows_inserted": stored.inserted,
                    "rows_corrected": stored.corrected,
                    "duplicates_dropped": bucketed.duplicates,
                }
                if refusal:
                    await record_failure(session, series_id, str(refusal))
                await runs.finish_item(
                    session,
                    self._run_id,
                    series_id,
                    ItemStatus.FAILED if refusal else ItemStatus.SUCCEEDED,
                    error=str(refusal) if refusal else None,
                    calls=calls + bool(refusal),
                    **rows,
                )
                unmade = len(plan.windows) - calls
                await self._add(session, completed_calls=calls, failed_calls=unmade, **rows)
        log.debug("series stored", series=series_id, revision=stored.revision, **rows)

    async def _fail(self, plan: SeriesPlan, error: UpstreamError) -> None:
        """Note why a series failed; its stored prices stay as they are."""
        state = plan.state
        message = str(error)
        if isinstance(error, NotFound):
            message = await self._explain_unknown(state.coin_id, message)
        log.warning(
            "series failed", coin=state.coin_id, currency=state.currency_code, error=message
        )
        self._failed += 1
        async with self._database.write() as session:
            await record_failure(session, state.series_id, message)
            await runs.finish_item(
                session, self._run_id, state.series_id, ItemStatus.FAILED, error=message
            )
            await self._add(session, failed_calls=len(plan.windows))

    async def _explain_unknown(self, coin_id: str, message: str) -> str:
        """Say which coin may have been meant, at the cost of one call for each unknown coin."""
        if coin_id in self._unknown:
            return self._unknown[coin_id]
        self._unknown[coin_id] = message  # also where the list cannot be had
        try:
            listed = await self._upstream.coin_list()
        except UpstreamError:
            return message
        close = difflib.get_close_matches(coin_id, [coin.id for coin in listed], n=3)
        close += [coin.id for coin in listed if coin.symbol.lower() == coin_id.lower()][:3]
        hint = f" Did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
        self._unknown[coin_id] = f"CoinGecko knows no coin {coin_id!r}: correct COINS.{hint}"
        return self._unknown[coin_id]

    async def _profiles(self, coin_ids: Sequence[str]) -> None:
        """Bring names, descriptions and pictures. A failure here costs no series anything."""
        for coin_id in coin_ids:
            if coin_id in self._unknown:
                await self._count(failed_calls=1)
                continue
            try:
                profile = await self._upstream.coin(coin_id)
            except AccessRefused:
                raise
            except UpstreamError as error:
                log.warning("metadata failed", coin=coin_id, error=str(error))
                await self._count(failed_calls=1)
                continue
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

    async def _count(self, **counters: int) -> None:
        async with self._database.write() as session:
            await self._add(session, **counters)

    async def _add(self, session: WriteSession, **counters: int) -> None:
        pace = self._upstream.throttle.interval
        await runs.add_progress(session, self._run_id, pace, **counters)

    async def _finish(self, status: RefreshStatus, error: str | None) -> None:
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

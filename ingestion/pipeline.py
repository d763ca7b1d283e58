"""One refresh run from start to end: fetch and bucket with several calls in flight, then store."""

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

import numpy as np
import structlog

from ingestion.buckets import bucket_hours
from ingestion.coingecko import CoinGecko
from ingestion.errors import (
    AccessRefused,
    HistoryTooLong,
    NotFound,
    RateLimited,
    Unreachable,
    UpstreamError,
)
from ingestion.journal import Fetched, Journal
from ingestion.planner import Reason, SeriesPlan
from ingestion.samples import Chart
from ingestion.unknown import UnknownCoins
from models.database import DatabaseUnavailableError
from models.price_writes import Newest
from models.tables import RefreshStatus

log = structlog.get_logger("coingraph.refresh")

_FETCHERS = 4
_MOST_UNANSWERED = 3  # series in a row, each asked for with all patience
_INTERNAL = "Internal error; see the server's log."


class _NobodyAnswersError(UpstreamError):
    """Upstream cannot be reached at all: the other series would only wait as long."""


# What nothing else of this run would fare better with: RateLimited comes only after all patience.
_ENDS_THE_RUN = (AccessRefused, RateLimited, _NobodyAnswersError, DatabaseUnavailableError)


class Pipeline:
    """Works through the plans of one run. The caller holds the lock of the deployment."""

    def __init__(self, upstream: CoinGecko, journal: Journal) -> None:
        self._upstream = upstream
        self._journal = journal
        self._unknown = UnknownCoins(upstream)
        self._stored = 0
        self._failed = 0
        self._unanswered = 0

    async def run(self, plans: Sequence[SeriesPlan], metadata: Sequence[str]) -> None:
        """Do all of it and write how it ended. Raises CancelledError after that."""
        log.info("refresh started", series=len(plans), metadata=len(metadata))
        try:
            status, error = await self._work(plans, metadata)
        except asyncio.CancelledError:
            stopped = self._journal.finish(RefreshStatus.INTERRUPTED, "The server was stopped.")
            await _to_its_end(stopped)
            raise
        await _to_its_end(self._journal.finish(status, error))

    async def _work(
        self, plans: Sequence[SeriesPlan], metadata: Sequence[str]
    ) -> tuple[RefreshStatus, str | None]:
        """Do all of it; tell how it ended and why."""
        try:
            await self._quotes(plans)
            await self._all_series(plans)
            await self._profiles(metadata)
        except _ENDS_THE_RUN as error:
            return RefreshStatus.FAILED, str(error)
        except Exception:
            log.exception("refresh failed")
            return RefreshStatus.FAILED, _INTERNAL
        if not self._failed:
            return RefreshStatus.SUCCEEDED, None
        return (RefreshStatus.PARTIAL if self._stored else RefreshStatus.FAILED), None

    async def _quotes(self, plans: Sequence[SeriesPlan]) -> None:
        """Bring every newest price with one call, before the long work begins."""
        if not plans:
            return
        series = {(p.state.coin_id, p.state.currency_code): p.state.series_id for p in plans}
        coins = list(dict.fromkeys(coin for coin, _ in series))
        currencies = list(dict.fromkeys(currency for _, currency in series))
        try:
            quotes = await self._upstream.simple_price(coins, currencies)
        except _ENDS_THE_RUN:
            raise
        except UpstreamError as error:
            log.warning("newest prices failed", error=str(error))
            await self._journal.failed_call()
            return
        if missing := [f"{coin}/{currency}" for coin, currency in quotes.missing]:
            log.warning("upstream left out newest prices", missing=missing)
        await self._journal.quotes(
            [
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
        )

    async def _all_series(self, plans: Sequence[SeriesPlan]) -> None:
        queue = iter(plans)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_FETCHERS):
                    group.create_task(self._work_off(queue))
        except ExceptionGroup as errors:
            first, *others = errors.exceptions
            for other in others:
                if not isinstance(other, _ENDS_THE_RUN):
                    log.exception("refresh failed in one more way", exc_info=other)
            raise first from None

    async def _work_off(self, queue: Iterator[SeriesPlan]) -> None:
        for plan in queue:
            try:
                await self._one_series(plan)
            except _ENDS_THE_RUN:
                raise
            except UpstreamError as error:
                await self._fail(plan, await self._unknown.explain(plan.state.coin_id, error))
            except Exception:
                log.exception("a series cannot be stored", series=plan.state.series_id)
                await self._fail(plan, _INTERNAL)

    async def _one_series(self, plan: SeriesPlan) -> None:
        """Fetch a series whole, then store it whole."""
        if known := self._unknown.reason(plan.state.coin_id):
            raise NotFound(known)
        charts, refusal = await self._fetch(plan)
        start = plan.windows[len(charts) - 1].start if refusal else plan.start
        bucketed = bucket_hours(charts, start, datetime.now(UTC))
        if not len(bucketed.hours):
            if plan.reason is Reason.REBUILD:
                raise UpstreamError("CoinGecko sent no prices: what is stored was left as it is.")
            # not a failure: some coins have no price in some currencies, or none any more
            log.warning(
                "no prices upstream", coin=plan.state.coin_id, currency=plan.state.currency_code
            )
        await self._journal.series(
            plan, Fetched(bucketed, len(charts), start, refusal, _replaced_from(plan, charts))
        )
        self._stored += 1
        self._failed += refusal is not None

    async def _fetch(self, plan: SeriesPlan) -> tuple[list[Chart], str | None]:
        """Fetch the windows of a series, the newest first.

        Where the plan of the API offers less history, what came before that is kept, with the
        reason why there is no more.
        """
        charts: list[Chart] = []
        for window in plan.windows:
            # The newest window reaches to the moment of its call, not to that of the plan.
            end = window.end if charts else max(window.end, datetime.now(UTC))
            try:
                chart = await self._upstream.market_chart_range(
                    plan.state.coin_id, plan.state.currency_code, window.start, end
                )
            except UpstreamError as error:
                self._count_silence(silent=isinstance(error, Unreachable) and not charts, why=error)
                if isinstance(error, HistoryTooLong) and charts:
                    return charts, str(error)
                raise
            charts.append(chart)
            self._unanswered = 0
        return charts, None

    def _count_silence(self, *, silent: bool, why: UpstreamError) -> None:
        """Count the series in a row that got no answer. Raises _NobodyAnswersError at the third."""
        self._unanswered = self._unanswered + 1 if silent else 0
        if self._unanswered >= _MOST_UNANSWERED:
            number = f"{self._unanswered} series in a row got no answer"
            raise _NobodyAnswersError(f"{why}; {number}, so no more were asked for") from why

    async def _fail(self, plan: SeriesPlan, message: str) -> None:
        state = plan.state
        log.warning(
            "series failed", coin=state.coin_id, currency=state.currency_code, error=message
        )
        self._failed += 1
        await self._journal.failure(plan, message)

    async def _profiles(self, coin_ids: Sequence[str]) -> None:
        """Bring names, descriptions and pictures. A failure here costs no series anything."""
        for coin_id in coin_ids:
            if self._unknown.reason(coin_id):
                await self._journal.failed_call()
                continue
            try:
                profile = await self._upstream.coin(coin_id)
            except _ENDS_THE_RUN:
                raise
            except UpstreamError as error:
                log.warning("metadata failed", coin=coin_id, error=str(error))
                await self._journal.failed_call()
            else:
                await self._journal.profile(coin_id, profile)


def _replaced_from(plan: SeriesPlan, charts: Sequence[Chart]) -> datetime | None:
    """From where on a rebuild may remove hours: a window without prices removes none."""
    if plan.reason is not Reason.REBUILD:
        return None
    answered = zip(plan.windows, charts, strict=False)
    full = list(takewhile(lambda pair: np.isfinite(pair[1].prices.values).any(), answered))
    return full[-1][0].start if full else None


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Await `work` whole, and let a cancellation of the caller wait for that."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if error := task.exception():
            log.exception("the end of a refresh could not be written", exc_info=error)
        raise

"""One refresh run from start to end: fetch and bucket with several calls in flight, then store."""

import asyncio
import difflib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import structlog

from ingestion.buckets import bucket_hours
from ingestion.coingecko import CoinGecko
from ingestion.errors import (
    AccessRefused,
    HistoryTooLong,
    NotFound,
    RateLimited,
    UpstreamError,
)
from ingestion.journal import Journal
from ingestion.planner import Reason, SeriesPlan
from ingestion.samples import Chart
from models.database import DatabaseUnavailableError
from models.price_writes import Newest
from models.tables import RefreshStatus

log = structlog.get_logger("coingraph.refresh")

_FETCHERS = 4
# What no other call of this run would fare better with: RateLimited comes only after all patience.
_ENDS_THE_RUN = (AccessRefused, RateLimited)


class Pipeline:
    """Works through the plans of one run. The caller holds the lock of the deployment."""

    def __init__(self, upstream: CoinGecko, journal: Journal) -> None:
        self._upstream = upstream
        self._journal = journal
        self._unknown: dict[str, str] = {}
        self._succeeded = 0
        self._failed = 0

    async def run(self, plans: Sequence[SeriesPlan], metadata: Sequence[str]) -> None:
        """Do all of it and write how it ended. Raises nothing but CancelledError."""
        log.info("refresh started", series=len(plans), metadata=len(metadata))
        finish = self._journal.finish
        try:
            await self._quotes(plans)
            await self._all_series(plans)
            await self._profiles(metadata)
        except asyncio.CancelledError:
            await asyncio.shield(finish(RefreshStatus.INTERRUPTED, "The server was stopped."))
            raise
        except (*_ENDS_THE_RUN, DatabaseUnavailableError) as error:
            await finish(RefreshStatus.FAILED, str(error))
        except Exception:
            log.exception("refresh failed")
            await finish(RefreshStatus.FAILED, "Internal error; see the server's log.")
        else:
            await finish(self._outcome(), None)

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
        except _ENDS_THE_RUN:
            raise
        except UpstreamError as error:
            log.warning("newest prices failed", error=str(error))
            await self._journal.count(failed_calls=1)
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
            raise errors.exceptions[0] from None

    async def _work_off(self, queue: Iterator[SeriesPlan]) -> None:
        for plan in queue:
            try:
                await self._one_series(plan)
            except _ENDS_THE_RUN:
                raise
            except UpstreamError as error:
                await self._fail(plan, error)

    async def _one_series(self, plan: SeriesPlan) -> None:
        """Fetch a series whole, then store it whole."""
        if plan.state.coin_id in self._unknown:
            raise NotFound(self._unknown[plan.state.coin_id])
        charts, refusal = await self._fetch(plan)
        start = plan.windows[len(charts) - 1].start if refusal else plan.start
        bucketed = bucket_hours(charts, start, datetime.now(UTC))
        if plan.reason is Reason.REBUILD and not len(bucketed.hours):
            raise UpstreamError("CoinGecko sent no prices: the series was left as it is.")
        await self._journal.series(plan, bucketed, calls=len(charts), refusal=refusal)
        if refusal:
            self._failed += 1
        else:
            self._succeeded += 1

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
            except HistoryTooLong as error:
                if not charts:
                    raise
                return charts, str(error)
            charts.append(chart)
        return charts, None

    async def _fail(self, plan: SeriesPlan, error: UpstreamError) -> None:
        state, message = plan.state, str(error)
        if isinstance(error, NotFound):
            message = await self._explain_unknown(state.coin_id, message)
        log.warning(
            "series failed", coin=state.coin_id, currency=state.currency_code, error=message
        )
        self._failed += 1
        await self._journal.failure(plan, message)

    async def _explain_unknown(self, coin_id: str, message: str) -> str:
        """Say which coin may have been meant, at the cost of one call for each unknown coin."""
        if coin_id in self._unknown:
            return self._unknown[coin_id]
        self._unknown[coin_id] = message  # also where the list cannot be had
        try:
            listed = await self._upstream.coin_list()
        except UpstreamError:
            return message
        if any(coin.id == coin_id for coin in listed):
            return message
        close = difflib.get_close_matches(coin_id, [coin.id for coin in listed], n=3)
        close += [coin.id for coin in listed if coin.symbol.lower() == coin_id][:3]
        hint = f" Did you mean {' or '.join(dict.fromkeys(close))}?" if close else ""
        self._unknown[coin_id] = f"CoinGecko knows no coin {coin_id!r}: correct COINS.{hint}"
        return self._unknown[coin_id]

    async def _profiles(self, coin_ids: Sequence[str]) -> None:
        """Bring names, descriptions and pictures. A failure here costs no series anything."""
        for coin_id in coin_ids:
            if coin_id in self._unknown:
                await self._journal.count(failed_calls=1)
                continue
            try:
                profile = await self._upstream.coin(coin_id)
            except _ENDS_THE_RUN:
                raise
            except UpstreamError as error:
                log.warning("metadata failed", coin=coin_id, error=str(error))
                await self._journal.count(failed_calls=1)
            else:
                await self._journal.profile(coin_id, profile)

"""The calls of a run that are not for a single series: newest prices and coins' metadata."""

from collections.abc import Sequence

import structlog

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import UpstreamDown, UpstreamError
from ingestion.coingecko.newest_prices import fetch_newest_prices
from ingestion.coingecko.urls import quote_chunks
from ingestion.planning.windows import SeriesPlan
from ingestion.run.notes import dropped_from_quotes
from ingestion.run.recorder import RunRecorder
from ingestion.run.unknown_coins import UnknownCoins

log = structlog.get_logger("coingraph.refresh")


class ExtraCalls:
    """Makes the calls of a run that no series depends on.

    Raises only the errors that end the whole run, which are `ends_the_run`.
    """

    def __init__(
        self, upstream: CoinGecko, recorder: RunRecorder, ends_the_run: tuple[type[Exception], ...]
    ) -> None:
        self._upstream = upstream
        self._recorder = recorder
        self._ends_the_run = ends_the_run

    async def quotes(self, plans: Sequence[SeriesPlan]) -> None:
        """Fetch and store all newest prices, before the long work begins."""
        if not plans:
            return
        series = {(p.state.coin_id, p.state.currency_code): p.state.series_id for p in plans}
        calls = len(quote_chunks({coin for coin, _ in series}))
        try:
            newest = await fetch_newest_prices(
                self._upstream, series, stats=self._recorder.call_counters.others
            )
        except self._ends_the_run:
            raise
        except UpstreamError as error:
            log.warning("newest prices failed", error=str(error))
            await self._recorder.count_failed_calls(calls=calls)
            return
        if note := dropped_from_quotes(newest):
            log.warning("newest prices dropped", note=note)
            self._recorder.notes.add(note)
        if missing := [f"{coin}/{currency}" for coin, currency in newest.missing]:
            log.warning("upstream left out newest prices", missing=missing)
        await self._recorder.store_newest_prices(newest.found, calls)

    async def profiles(self, coin_ids: Sequence[str], unknown: UnknownCoins) -> None:
        """Fetch and store names, descriptions and images. A failure does not affect any series."""
        for coin_id in coin_ids:
            if unknown.reason(coin_id) or self._upstream.outage.forbids_calls:
                await self._recorder.count_failed_calls()
                continue
            try:
                profile = await self._upstream.coin(
                    coin_id, stats=self._recorder.call_counters.others
                )
            except UpstreamError as error:
                if isinstance(error, self._ends_the_run) and not isinstance(error, UpstreamDown):
                    raise
                log.warning("metadata failed", coin=coin_id, error=str(error))
                await self._recorder.count_failed_calls()
            else:
                await self._recorder.store_profile(coin_id, profile)

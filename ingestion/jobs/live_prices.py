"""Live prices: periodic polls of the newest price of every tracked series."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog

from ingestion.coingecko.circuit_breaker import CircuitBreaker
from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import UpstreamError
from ingestion.coingecko.newest_prices import SeriesQuotes, fetch_newest_prices
from ingestion.coingecko.urls import quote_chunks
from ingestion.jobs.backoff import Backoff
from ingestion.quota.credits import Credits
from ingestion.run.notes import dropped_from_quotes
from models.history import floor_hour
from models.postgres.database import Database, DatabaseUnavailableError
from models.prices.write_live import store_live
from models.series import SeriesKey, list_series

log = structlog.get_logger("coingraph.live")

_AT_A_TIME = 2000  # series in one transaction
_MOST_NAMED = 20
_LONGEST_PAUSE = 600.0


class BudgetSpentError(Exception):
    """Too few of the month's credits are left for a poll."""


class LivePoller:
    """Polls upstream on the leader of the deployment, so at most one process polls.

    The calls of a poll wait in the throttle like all others. A poll that takes longer than a period
    skips the periods that it overlaps.
    """

    def __init__(
        self,
        database: Database,
        upstream: CoinGecko,
        *,
        coins: Sequence[str],
        currencies: Sequence[str],
        every: timedelta,
        left: Credits,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._upstream = upstream
        self._coins, self._currencies = tuple(coins), tuple(currencies)
        self._every = every.total_seconds()
        self._credits = left
        self._now = now
        self._series: dict[SeriesKey, int] = {}
        self._lacking: frozenset[object] = frozenset()
        # An outage of its own: a successful poll must not end the outage that charts are in.
        self._outage = CircuitBreaker()
        self._backoff = Backoff("live poll", longest_pause=_LONGEST_PAUSE)

    async def run(self, verify: Callable[[], Awaitable[None]]) -> None:
        """Poll until cancelled. `verify` raises if this process may no longer be the leader."""
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            pause = 0.0
            try:
                await self.poll(verify)
            except (BudgetSpentError, UpstreamError, DatabaseUnavailableError) as error:
                pause = self._backoff.failed(error)
            except Exception as error:  # noqa: BLE001 - the next poll may succeed
                pause = self._backoff.failed(error, expected=False)
            else:
                self._backoff.succeeded()
            due = next_due(due, self._every, clock() + pause)
            await asyncio.sleep(due - clock())

    async def poll(self, verify: Callable[[], Awaitable[None]]) -> int:
        """Fetch and store the newest prices once. Returns the number of series that changed.

        Raises BudgetSpentError, UpstreamError and DatabaseUnavailableError.
        """
        budget = await self._credits.budget_outside_runs()
        if not budget.allows(len(quote_chunks(self._coins))):
            raise BudgetSpentError(
                f"The {budget.monthly} credits of this month are spent"
                + (" or reserved for the refresh in progress" if budget.promised else "")
                + f"; live polls resume on {budget.resets_at:%Y-%m-%d}."
            )
        if not self._series:
            facts = await list_series(self._database, self._coins, self._currencies)
            self._series = {(each.coin_id, each.currency_code): each.id for each in facts}
        newest = await fetch_newest_prices(self._upstream, self._series, outage=self._outage)
        self._log_missing(newest)
        hour = floor_hour(self._now())
        changed = 0
        for first in range(0, len(newest.found), _AT_A_TIME):
            await verify()
            async with self._database.write() as session:
                changed += await store_live(session, newest.found[first : first + _AT_A_TIME], hour)
        log.debug("live prices", found=len(newest.found), changed=changed)
        return changed

    def _log_missing(self, newest: SeriesQuotes) -> None:
        """Log what upstream left out or gave malformed, if that has changed since the last poll."""
        lacking: frozenset[object] = frozenset(
            [
                *newest.missing,
                *((key, "dropped") for key in newest.dropped),
                *["extras"][: newest.extras],
            ]
        )
        if lacking == self._lacking:
            return
        self._lacking = lacking
        if note := dropped_from_quotes(newest):
            log.warning("live prices dropped", note=note)
        if missing := sorted(newest.missing):
            named = [f"{coin}/{currency}" for coin, currency in missing[:_MOST_NAMED]]
            log.warning("upstream left out live prices", count=len(missing), missing=named)
        elif not lacking:
            log.info("upstream gives all live prices again")


def next_due(due: float, every: float, now: float) -> float:
    """Return when the next poll is due, in seconds. Periods already passed are skipped."""
    return due + every * max(1, math.ceil((now - due) / every))

"""One refresh run from start to end: fetch several series at once, group into hours, store."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from typing import Any

import structlog

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import (
    AccessRefused,
    BadRequest,
    HistoryTooLong,
    NotFound,
    RateLimited,
    UpstreamDown,
    UpstreamError,
)
from ingestion.coingecko.types import Dropped
from ingestion.planning.windows import Reason, SeriesPlan
from ingestion.run.buckets import bucket_hours
from ingestion.run.fetcher import Fetched, Fetcher
from ingestion.run.metadata_and_quotes import ExtraCalls
from ingestion.run.notes import dropped_values
from ingestion.run.recorder import RunRecorder
from ingestion.run.unknown_coins import UnknownCoins
from models.postgres.database import DatabaseUnavailableError
from models.prices.changes import ReplacementTooSmallError
from models.prices.gaps import AskedRange
from models.tables import RefreshStatus

log = structlog.get_logger("coingraph.refresh")

_FETCHERS = 4
_SHUTDOWN_SECONDS = 3.0  # how long a stopping process waits until the end of the run is written
_INTERNAL = "Internal error; see the server's log."
_STOPPED_ANSWERING = (
    "CoinGecko stopped answering: the next refresh fetches the missing names and days."
)


# Errors that any other call of the run would meet. RateLimited is raised only after all retries.
_ENDS_THE_RUN = (AccessRefused, RateLimited, UpstreamDown, DatabaseUnavailableError)
_MOST_REFUSED = 5  # series that may fail while no call of the run is answered


# Errors that mean that upstream lacks the range. It is requested again later, by time.
_REFUSALS = (NotFound, BadRequest, HistoryTooLong)


class Pipeline:
    """Executes the plan of one run. The caller holds the deployment's refresh lock.

    `lost_database` is True after a run that ended because the database was unavailable.
    """

    def __init__(
        self, upstream: CoinGecko, recorder: RunRecorder, now: Callable[[], datetime]
    ) -> None:
        self._upstream = upstream
        self._answers_before = upstream.outage.answers
        self._recorder = recorder
        self._now = now
        self._unknown = UnknownCoins(upstream, recorder.call_counters.others)
        self._fetcher = Fetcher(upstream, now)
        self._extra_calls = ExtraCalls(upstream, recorder, _ENDS_THE_RUN)
        self._stored: set[int] = set()
        self._ping_lock, self._pinged = asyncio.Lock(), False
        self._silent: set[int] = set()
        self._incomplete: set[int] = set()
        self._failed = 0
        self.lost_database = False

    async def run(self, plans: Sequence[SeriesPlan], metadata: Sequence[str]) -> None:
        """Execute the run and record how it ended, also if it is cancelled."""
        log.info("refresh started", series=len(plans), metadata=len(metadata))
        self._upstream.outage.ignore_failures_of()
        try:
            status, error = await self._work(plans, metadata)
        except asyncio.CancelledError:
            stopped = self._recorder.finish(RefreshStatus.INTERRUPTED, "The server was stopped.")
            await _complete(stopped, _SHUTDOWN_SECONDS)
            raise
        await _complete(self._recorder.finish(status, error))
        await self._recorder.prune_runs()

    async def _work(
        self, plans: Sequence[SeriesPlan], metadata: Sequence[str]
    ) -> tuple[RefreshStatus, str | None]:
        """Execute the run; return its final status, and the error if it failed as a whole."""
        try:
            await self._extra_calls.quotes(plans)
            await self._all(plans, self._try_series)
            if self._stored or self._silent or not plans:
                await self._extra_calls.profiles(metadata, self._unknown)
                await self._all([plan for plan in plans if plan.daily], self._try_daily)
                if self._upstream.outage.forbids_calls:
                    self._recorder.notes.add(_STOPPED_ANSWERING)
        except _ENDS_THE_RUN as error:
            self.lost_database = isinstance(error, DatabaseUnavailableError)
            advice = f": {error.advice}" if isinstance(error, RateLimited) else ""
            return RefreshStatus.FAILED, f"{error}{advice}"
        except Exception:
            log.exception("refresh failed")
            return RefreshStatus.FAILED, _INTERNAL
        if not self._incomplete:
            return RefreshStatus.SUCCEEDED, None
        return (RefreshStatus.PARTIAL if self._stored else RefreshStatus.FAILED), None

    async def _all(
        self, plans: Sequence[SeriesPlan], work: Callable[[SeriesPlan], Awaitable[None]]
    ) -> None:
        """Apply `work` to the plans in order, to `_FETCHERS` of them at a time."""
        queue = iter(plans)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_FETCHERS):
                    group.create_task(_drain(queue, work))
        except ExceptionGroup as errors:
            first, *others = errors.exceptions
            for other in others:
                if not isinstance(other, _ENDS_THE_RUN):
                    log.exception("refresh failed in one more way", exc_info=other)
            raise first from None

    async def _try_series(self, plan: SeriesPlan) -> None:
        try:
            await self._series(plan)
        except UpstreamDown as error:
            if not await self._answers_others():
                raise
            if error.__cause__ is None:  # raised while it waited, before any attempt
                await self._try_series(plan)
                return
            await self._fail(plan, str(error.__cause__))
        except _ENDS_THE_RUN:
            raise
        except UpstreamError as error:
            if self._refused_everything:
                raise UpstreamDown.after(error, self._failed + 1) from error
            await self._fail(
                plan,
                await self._unknown.explain(plan.state.coin_id, error),
                refused=isinstance(error, _REFUSALS),
            )
        except ReplacementTooSmallError as error:
            await self._fail(plan, str(error))
        except Exception:
            log.exception("a series cannot be stored", series=plan.state.series_id)
            await self._fail(plan, _INTERNAL)

    @property
    def _refused_everything(self) -> bool:
        """True if no call of the run was answered and `_MOST_REFUSED` series have failed."""
        unanswered = self._upstream.outage.answers == self._answers_before
        return unanswered and self._failed + 1 >= _MOST_REFUSED

    async def _answers_others(self) -> bool:
        """Ping upstream to find out whether only some series fail. Returns True if it answers.

        Series that fail one after the other must not stop the others. A run pings once, and only
        after it has stored something.
        """
        async with self._ping_lock:
            if not self._upstream.outage.forbids_calls:  # another call has succeeded meanwhile
                return True
            if self._pinged or not self._stored:
                return False
            self._pinged = True
            failing = self._upstream.outage.failing()
            try:
                await self._upstream.ping(stats=self._recorder.call_counters.others)
            except UpstreamError:
                return False
            self._upstream.outage.ignore_failures_of(failing)  # these fail by themselves
            return True

    async def _series(self, plan: SeriesPlan) -> None:
        """Fetch all hours of a series, then store them in one transaction."""
        state = plan.state
        if state.deferral is not None:
            self._incomplete.add(state.series_id)
            await self._recorder.record_deferral(plan, state.deferral)
            return
        if known := self._unknown.reason(state.coin_id):
            raise NotFound(known)
        fetched = await self._fetcher.hours(plan, self._recorder.call_counters.of(state.series_id))
        bucketed = bucket_hours(fetched.charts, fetched.start, self._now())
        problem = fetched.shortfall(state.confirmed_gaps)
        if not len(bucketed.hours):
            if plan.reason is Reason.REBUILD:
                raise UpstreamError("CoinGecko sent no prices: the stored ones are unchanged.")
            await self._no_prices(plan, fetched, problem)
            return
        if problem:
            log.warning("prices missing", **_name(plan), trouble=problem)
            self._incomplete.add(state.series_id)
        await self._recorder.store_series(plan, fetched, bucketed, problem)
        self._stored.add(state.series_id)

    async def _no_prices(self, plan: SeriesPlan, fetched: Fetched, problem: str | None) -> None:
        """Record a series without any price. It is requested again, less and less often."""
        state = plan.state
        prices = "newer prices" if state.last_bucket else "prices"
        message = f"CoinGecko sent no {prices} of {state.coin_id} in {state.currency_code}."
        if fetched.refusal or any(len(chart.prices.times) for _, chart in fetched.answered):
            message = problem or message
        log.warning("no prices upstream", **_name(plan), trouble=message)
        self._incomplete.add(state.series_id)
        self._silent.add(state.series_id)
        await self._recorder.record_no_prices(plan, fetched, message)

    async def _try_daily(self, plan: SeriesPlan) -> None:
        """Fetch and store the days without hours. After a failure, a later run requests them."""
        series_id = plan.state.series_id
        asked = series_id in self._stored | self._silent  # otherwise its item has the error
        problem: str | None = None
        if asked and self._upstream.outage.forbids_calls:
            asked, problem = False, "Days were not requested: CoinGecko stopped answering."
        try:
            if asked and plan.daily:
                stats = self._recorder.call_counters.of(series_id)
                fetched = await self._fetcher.daily(plan, plan.daily, stats)
                dropped = self._fetcher.dropped.pop(series_id, Dropped())
                self._recorder.notes.add_series(series_id, dropped_values(dropped, "days"))
                if len(fetched.points):
                    self._stored.add(series_id)
                if not await self._recorder.store_days(plan, fetched):
                    self._incomplete.add(series_id)
                return
        except (AccessRefused, RateLimited, DatabaseUnavailableError):
            raise
        except (UpstreamError, ReplacementTooSmallError) as error:
            problem = f"Days were not stored: {error}"
            log.warning("daily history failed", series=series_id, error=str(error))
        self._incomplete.add(series_id)
        await self._recorder.record_missing_days(plan, problem)

    async def _fail(self, plan: SeriesPlan, message: str, *, refused: bool = False) -> None:
        """Record a failed series; with `refused`, also the requested ranges that upstream lacks."""
        log.warning("series failed", **_name(plan), error=message)
        self._failed += 1
        self._incomplete.add(plan.state.series_id)
        now = self._now()
        windows = [*plan.windows, *plan.rest] if refused else []
        asked = [AskedRange(each.start, each.end, now, answered=False) for each in windows]
        await self._recorder.record_failure(plan, message, asked)


def _name(plan: SeriesPlan) -> dict[str, str]:
    return {"coin": plan.state.coin_id, "currency": plan.state.currency_code}


async def _drain(
    queue: Iterator[SeriesPlan], work: Callable[[SeriesPlan], Awaitable[None]]
) -> None:
    for plan in queue:
        await work(plan)


async def _complete(work: Coroutine[Any, Any, None], seconds: float | None = None) -> None:
    """Await `work` for at most `seconds`. A cancelled caller still waits `_SHUTDOWN_SECONDS`.

    Raises what `work` raises.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_SHUTDOWN_SECONDS)
        raise
    finally:
        if task.cancel():
            await asyncio.wait([task])
            log.error("the end of a refresh was not written; the next run marks it")
        else:
            task.result()

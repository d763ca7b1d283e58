"""One refresh run from start to end: fetch and bucket with several calls in flight, then store."""

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
    NobodyAnswers,
    NotFound,
    RateLimited,
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
_SHUTDOWN_SECONDS = 3.0  # so long a stopping process waits for the database to take down the end
_INTERNAL = "Internal error; see the server's log."
_STOPPED_ANSWERING = (
    "CoinGecko stopped answering: names and days that are missing come with the next refresh."
)


# What nothing else of this run would fare better with: RateLimited comes only after all patience.
_ENDS_THE_RUN = (AccessRefused, RateLimited, NobodyAnswers, DatabaseUnavailableError)
_MOST_REFUSED = 5  # series, where no call of the run was answered: upstream refuses one as another


# What says that upstream does not have what is asked for. It is asked again by time.
_REFUSALS = (NotFound, BadRequest, HistoryTooLong)


class Pipeline:
    """Works through the plans of one run. The caller holds the lock of the deployment."""

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
        """Do all of it and write how it ended. Raises CancelledError after that."""
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
        """Do all of it; tell how it ended and why."""
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
        """Work on some plans at a time, in their order."""
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
        except NobodyAnswers as error:
            if not await self._answers_others():
                raise
            if error.__cause__ is None:  # it waited behind others, and was never tried
                await self._try_series(plan)
                return
            await self._fail(plan, str(error.__cause__))
        except _ENDS_THE_RUN:
            raise
        except UpstreamError as error:
            if self._refused_everything:
                raise NobodyAnswers.after(error, self._failed + 1) from error
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
        """Whether no call was answered, and enough were made to tell from that of the others."""
        unanswered = self._upstream.outage.answers == self._answers_before
        return unanswered and self._failed + 1 >= _MOST_REFUSED

    async def _answers_others(self) -> bool:
        """Ask, once in a run that has stored something, whether upstream answers anybody: some
        series that fail one after the other are to stop no others.
        """
        async with self._ping_lock:
            if not self._upstream.outage.forbids_calls:  # it has answered meanwhile
                return True
            if self._pinged or not self._stored:
                return False
            self._pinged = True
            failing = self._upstream.outage.failing()
            try:
                await self._upstream.ping(stats=self._recorder.call_counters.others)
            except UpstreamError:
                return False
            self._upstream.outage.ignore_failures_of(
                failing
            )  # they fail by themselves, and may fail again
            return True

    async def _series(self, plan: SeriesPlan) -> None:
        """Fetch the hours of a series whole, then store them whole."""
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
                raise UpstreamError("CoinGecko sent no prices: what is stored was left as it is.")
            await self._silence(plan, fetched, problem)
            return
        if problem:
            log.warning("prices missing", **_name(plan), problem=problem)
            self._incomplete.add(state.series_id)
        await self._recorder.store_series(plan, fetched, bucketed, problem)
        self._stored.add(state.series_id)

    async def _silence(self, plan: SeriesPlan, fetched: Fetched, problem: str | None) -> None:
        """Note a series without any price. It is asked for again, less and less often."""
        state = plan.state
        prices = "newer prices" if state.last_bucket else "prices"
        message = f"CoinGecko sent no {prices} of {state.coin_id} in {state.currency_code}."
        if fetched.refusal or any(len(chart.prices.times) for _, chart in fetched.answered):
            message = problem or message
        log.warning("no prices upstream", **_name(plan), problem=message)
        self._incomplete.add(state.series_id)
        self._silent.add(state.series_id)
        await self._recorder.record_no_prices(plan, fetched, message)

    async def _try_daily(self, plan: SeriesPlan) -> None:
        """Bring the days that hours do not. A failure costs no hour: a later run asks again."""
        series_id = plan.state.series_id
        asked = series_id in self._stored | self._silent  # else its item says why it failed
        problem: str | None = None
        if asked and self._upstream.outage.forbids_calls:
            asked, problem = False, "Days were not asked for: CoinGecko stopped answering."
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
        """Note a failure; where upstream `refused` the coin or the currency, what was asked for."""
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
    """Await `work`, at most so long, and let a cancellation of the caller wait for it a while.

    Raises what `work` does.
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

"""Starts, joins, awaits and interrupts refresh runs: one at a time in the whole deployment."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import chain, product, repeat
from uuid import UUID

import structlog

from ingestion.coingecko.client import CoinGecko
from ingestion.planning.estimate import BudgetExceededError, Estimate
from ingestion.planning.plan import RefreshRequest, RunPlan, prepare
from ingestion.quota.credits import Credits
from ingestion.run.joining import Names, RefreshBusyError, RunScope, busy_error, new_run
from ingestion.run.pipeline import Pipeline
from ingestion.run.recorder import RunRecorder
from models import runs
from models.history import TrackingScope
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database, DatabaseUnavailableError
from models.tables import RefreshRun, RefreshStatus, RefreshTrigger

__all__ = [
    "BudgetExceededError",
    "Estimate",
    "RefreshBusyError",
    "RefreshRequest",
    "Refresher",
    "RunPlan",
]

log = structlog.get_logger("coingraph.refresh")

_JOIN_SECONDS = 3.0  # schedulers time out, some of them after 5 s
_LEAST_JOIN_SECONDS = 1.0  # after the wait for other callers of this process
_MARK_PAUSES = (1.0, 3.0, 10.0, 30.0, 60.0)
_POLL_SECONDS = 0.25
_LOOK_SECONDS = 1.0


class _KeyBoundError(Exception):
    """The idempotency key of a run that was about to begin is bound to another run."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id)
        self.run_id = run_id


class Refresher:
    """Runs refreshes in this process, and finds those of other processes in the database.

    Methods raise DatabaseUnavailableError.
    """

    def __init__(
        self,
        database: Database,
        upstream: CoinGecko,
        *,
        coins: Sequence[str],
        currencies: Sequence[str],
        history_days: int,
        monthly_credits: int | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._upstream = upstream
        self.tracked = TrackingScope(
            tuple(coins), tuple(currencies), history_days, upstream.history
        )
        self.coins, self.currencies = self.tracked.coins, self.tracked.currencies
        self._history_days = history_days
        self._now = now
        self._credits = Credits(database, monthly_credits)
        self._task: asyncio.Task[None] | None = None
        self._run_id: UUID | None = None
        self._starting = asyncio.Lock()
        self._pipeline: Pipeline | None = None
        self._stopping = False
        self._marking: asyncio.Task[None] | None = None
        self._joinable: tuple[UUID | None, Names] = None, frozenset()  # a run and its series

    @property
    def lost_database(self) -> bool:
        """True if the last run of this process ended because the database was unavailable."""
        return self._pipeline is not None and self._pipeline.lost_database

    async def prepare(self, request: RefreshRequest, *, seeded: bool = True) -> RunPlan:
        """Plan a run without starting it; see `ingestion.planning.plan.prepare`."""
        return await prepare(self._database, self.tracked, request, self._now(), seeded=seeded)

    async def estimate(self, request: RefreshRequest, *, seeded: bool = True) -> Estimate:
        """Plan a run without starting it, and estimate its duration and cost."""
        run_plan = await self.prepare(request, seeded=seeded)
        budget = await self._credits.budget()
        wait = await self._upstream.throttle.look()
        return Estimate(run_plan, budget, self._upstream.throttle.interval, wait)

    async def start(
        self, request: RefreshRequest, trigger: RefreshTrigger, *, key: str | None = None
    ) -> tuple[UUID, bool]:
        """Start a run or join the one in progress. Returns its id and whether it was started.

        The same idempotency `key` always returns the same run, ended or not, whatever the request.
        Raises RefreshBusyError if the run in progress does not cover the request; the key then
        stays unbound. Raises BudgetExceededError if the month's credits do not cover a new run.
        """
        if joined := await self._join(request, key):  # the usual case needs no lock
            return joined, False
        clock = asyncio.get_running_loop().time
        deadline = clock() + _JOIN_SECONDS
        async with self._starting:
            deadline = max(deadline, clock() + _LEAST_JOIN_SECONDS)
            while not self._stopping:
                joined = await self._join(request, key)
                if joined is not None:
                    return joined, False
                started = await self._try_start(request, trigger, key)
                if started is not None:
                    return started
                if clock() > deadline:
                    raise RefreshBusyError("Another refresh is just starting or ending; try again.")
                await asyncio.sleep(_POLL_SECONDS / 5)
        raise RefreshBusyError("The server is stopping; try again.")

    async def _join(self, request: RefreshRequest, key: str | None) -> UUID | None:
        """Return the run to join: the key's own, or the one in progress if it covers the request.

        Returns None if no run is in progress. Raises RefreshBusyError if it covers other work.
        """
        bound, running = await runs.run_under_way(self._database, key)
        if bound is not None or running is None:
            return bound
        if self._joinable[0] != running.id:  # schedulers may come in hundreds
            async with self._database.read() as session:
                self._joinable = running.id, await runs.series_of_run(session, running.id)
        wanted = RunScope(
            set(product(request.coins or self.coins, request.currencies or self.currencies)),
            request.days,
            request.rebuild,
            request.only_due,
        )
        if not RunScope.from_request(running.request, self._joinable[1]).covers(
            wanted, self._history_days
        ):
            raise busy_error(running.id, runs.seconds_left(running, datetime.now(UTC)))
        return await self._bind(key, running.id)

    async def _bind(self, key: str | None, run_id: UUID) -> UUID:
        """Bind the key to a run, unless it is bound already; return the run it is bound to."""
        if key is None:
            return run_id
        async with self._database.write() as session:
            return await runs.bind_key(session, key, run_id)

    async def _try_start(
        self, request: RefreshRequest, trigger: RefreshTrigger, key: str | None
    ) -> tuple[UUID, bool] | None:
        lock = AdvisoryLock(self._database, runs.REFRESH_LOCK)
        if not await lock.acquire():
            return None
        try:
            run, run_plan = await self._insert(request, trigger, key, lock)
        except _KeyBoundError as bound:
            await lock.release()
            return bound.run_id, False
        except BaseException as error:
            await lock.release()
            unknown = isinstance(error, DatabaseUnavailableError | asyncio.CancelledError)
            if unknown:  # the run may have been committed, although no confirmation arrived
                self._mark_later()
            raise
        self._run_id = run.id
        self._task = asyncio.create_task(self._work(run, run_plan, lock))
        return run.id, True

    async def _insert(
        self,
        request: RefreshRequest,
        trigger: RefreshTrigger,
        key: str | None,
        lock: AdvisoryLock,
    ) -> tuple[RefreshRun, RunPlan]:
        estimate = await self.estimate(request)
        estimate.check()
        run, items = new_run(request, trigger, estimate)
        await lock.add(runs.lock_of(run.id))
        async with self._database.write() as session:
            for dead in await runs.interrupt_dead_runs(session):
                log.warning("a run was left behind by a killed process", run=str(dead))
            await runs.insert_run(session, run, items)
            bound = run.id if key is None else await runs.bind_key(session, key, run.id)
            if bound != run.id:
                raise _KeyBoundError(bound)
        return run, estimate.run_plan

    async def _work(self, run: RefreshRun, run_plan: RunPlan, lock: AdvisoryLock) -> None:
        structlog.contextvars.bind_contextvars(run=str(run.id))
        throttle = self._upstream.throttle
        recorder = RunRecorder(self._database, lock, run.id, lambda: throttle.interval)
        try:
            async with lock:
                self._pipeline = Pipeline(self._upstream, recorder, self._now)
                await self._pipeline.run(run_plan.plans, run_plan.metadata)
        except Exception:  # the result of this task is not awaited
            log.exception("the end of a refresh could not be written; the next run will mark it")

    async def wait(self, run_id: UUID) -> None:
        """Wait until the run has ended, in whichever process it runs.

        Raises DatabaseUnavailableError if the database becomes unavailable meanwhile.
        """
        task = self._task if run_id == self._run_id else None
        while True:
            if here := task is not None and not task.done():
                await asyncio.wait([task], timeout=_LOOK_SECONDS)
            async with self._database.read() as session:
                run = (await runs.runs_by_id(session, [run_id])).get(run_id)
                if run is None or run.status != RefreshStatus.RUNNING:
                    return
                alive = here or await runs.is_alive(session, run_id)
            if not alive:
                await self.mark_interrupted_runs()
            if not here:
                await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Stop starting runs, and interrupt the one in progress in this process."""
        self._stopping = True
        async with self._starting:  # one may be about to begin
            await self.interrupt()
        if self._marking is not None:
            self._marking.cancel()

    async def interrupt(self) -> None:
        """Interrupt this process's run, if there is one, and wait until that is recorded."""
        if self._task is not None and not self._task.done():
            await asyncio.sleep(0)  # a task that has not begun would not release its lock
            self._task.cancel()
            await asyncio.wait([self._task])

    async def mark_interrupted_runs_at_start(self) -> None:
        """Mark interrupted runs now; retry in the background if the lock is not free yet.

        The lock of a process that was just killed can take some time to be released.
        """
        if not await self.mark_interrupted_runs():
            self._mark_later()

    def _mark_later(self) -> None:
        if self._marking is None:
            self._marking = asyncio.create_task(self._mark_repeatedly())

    async def _mark_repeatedly(self) -> None:
        """Mark after each of `_MARK_PAUSES`, then at the last interval until that succeeds."""
        try:
            for pause in chain(_MARK_PAUSES, repeat(_MARK_PAUSES[-1])):
                await asyncio.sleep(pause)
                if await self.mark_interrupted_runs() and pause == _MARK_PAUSES[-1]:
                    return
        finally:
            self._marking = None

    async def mark_interrupted_runs(self) -> bool:
        """Mark the runs of killed processes as INTERRUPTED, unless a run is in progress.

        Returns False if one is, or if the database is unavailable.
        """
        try:
            async with AdvisoryLock(self._database, runs.REFRESH_LOCK) as lock:
                if not await lock.acquire():
                    return False
                async with self._database.write() as session:
                    await runs.interrupt_dead_runs(session)
        except DatabaseUnavailableError as error:
            log.warning("interrupted runs could not be marked", error=str(error))
            return False
        return True

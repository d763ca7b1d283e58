"""One refresh at a time in the whole deployment: starting, joining, waiting, interrupting."""

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

_JOIN_SECONDS = 3.0  # schedulers wait for an answer, some of them 5 s
_LEAST_JOIN_SECONDS = 1.0  # after the wait for callers of the same process
_MARK_PAUSES = (1.0, 3.0, 10.0, 30.0, 60.0)
_POLL_SECONDS = 0.25
_LOOK_SECONDS = 1.0


class _AnsweredError(Exception):
    """The key of a run that was about to begin is bound to another one."""

    def __init__(self, run_id: UUID) -> None:
        super().__init__(run_id)
        self.run_id = run_id


class Refresher:
    """Starts runs in this process and knows those of others through the database."""

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
        """Whether that is how the last run of this process ended."""
        return self._pipeline is not None and self._pipeline.lost_database

    async def prepare(self, request: RefreshRequest, *, seeded: bool = True) -> RunPlan:
        """Plan a run without starting it; see `ingestion.planning.plan.prepare`."""
        return await prepare(self._database, self.tracked, request, self._now(), seeded=seeded)

    async def estimate(self, request: RefreshRequest, *, seeded: bool = True) -> Estimate:
        """Plan a run, and see how long it would take now and what it would cost."""
        run_plan = await self.prepare(request, seeded=seeded)
        budget = await self._credits.budget()
        wait = await self._upstream.throttle.look()
        return Estimate(run_plan, budget, self._upstream.throttle.interval, wait)

    async def start(
        self, request: RefreshRequest, trigger: RefreshTrigger, *, key: str | None = None
    ) -> tuple[UUID, bool]:
        """Start a run, or join the one under way; tell its id and whether it was started.

        The same `key` always gets the same run, finished or not, whatever is asked for. Raises
        RefreshBusyError where the run under way does other work; the key then stays unbound.
        Raises BudgetExceededError where the month's credits do not suffice for a run of its own.
        """
        if joined := await self._join(request, key):  # most often, and nobody need wait for others
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
        """Find the run to join: the key's own, or the one under way that does what is asked for."""
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
        """Bind the key to a run; whoever bound it first wins."""
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
        except _AnsweredError as answered:
            await lock.release()
            return answered.run_id, False
        except BaseException as error:
            await lock.release()
            unheard = isinstance(error, DatabaseUnavailableError | asyncio.CancelledError)
            if unheard:  # its run may have been committed, though nobody told us
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
                raise _AnsweredError(bound)
        return run, estimate.run_plan

    async def _work(self, run: RefreshRun, run_plan: RunPlan, lock: AdvisoryLock) -> None:
        structlog.contextvars.bind_contextvars(run=str(run.id))
        throttle = self._upstream.throttle
        recorder = RunRecorder(self._database, lock, run.id, lambda: throttle.interval)
        try:
            async with lock:
                self._pipeline = Pipeline(self._upstream, recorder, self._now)
                await self._pipeline.run(run_plan.plans, run_plan.metadata)
        except Exception:  # nobody awaits this task's result
            log.exception("the end of a refresh could not be written; the next run will mark it")

    async def wait(self, run_id: UUID) -> None:
        """Return when the run has ended, in whichever process it runs.

        Raises DatabaseUnavailableError when the database goes away meanwhile.
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
        """Start no run any more, and end the one that is under way here."""
        self._stopping = True
        async with self._starting:  # one may be about to begin
            await self.interrupt()
        if self._marking is not None:
            self._marking.cancel()

    async def interrupt(self) -> None:
        """End this process's run, if there is one, and wait until that is written."""
        if self._task is not None and not self._task.done():
            await asyncio.sleep(0)  # it must have begun, or it ends without releasing its lock
            self._task.cancel()
            await asyncio.wait([self._task])

    async def mark_interrupted_runs_at_start(self) -> None:
        """Do so now, and again where the lock of one that was just killed is not free yet."""
        if not await self.mark_interrupted_runs():
            self._mark_later()

    def _mark_later(self) -> None:
        if self._marking is None:
            self._marking = asyncio.create_task(self._mark_repeatedly())

    async def _mark_repeatedly(self) -> None:
        """Look for dead runs, for a while and until we are let."""
        try:
            for pause in chain(_MARK_PAUSES, repeat(_MARK_PAUSES[-1])):
                await asyncio.sleep(pause)
                if await self.mark_interrupted_runs() and pause == _MARK_PAUSES[-1]:
                    return
        finally:
            self._marking = None

    async def mark_interrupted_runs(self) -> bool:
        """Mark runs of killed processes INTERRUPTED, unless a run is under way somewhere.

        False where one is, or the database is away.
        """
        try:
            async with AdvisoryLock(self._database, runs.REFRESH_LOCK) as lock:
                if not await lock.acquire():
                    return False
                async with self._database.write() as session:
                    await runs.interrupt_dead_runs(session)
        except DatabaseUnavailableError as error:
            log.warning("dead runs could not be looked for", error=str(error))
            return False
        return True

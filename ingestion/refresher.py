"""One refresh at a time in the whole deployment: starting, joining, waiting, interrupting."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID

import structlog

from ingestion.coingecko import CoinGecko
from ingestion.journal import Journal
from ingestion.pipeline import Pipeline
from ingestion.preparing import Preparation, RefreshRequest, Tracked, prepare
from models import runs
from models.database import Database, DatabaseUnavailableError
from models.locks import AdvisoryLock
from models.tables import (
    ItemStatus,
    RefreshRun,
    RefreshRunItem,
    RefreshStatus,
    RefreshTrigger,
)

__all__ = ["Preparation", "RefreshBusyError", "RefreshRequest", "Refresher"]

log = structlog.get_logger("coingraph.refresh")

_JOIN_SECONDS = 5.0
_POLL_SECONDS = 0.25
_LOOK_SECONDS = 1.0


class RefreshBusyError(Exception):
    """Another run holds the lock but cannot be found: it is just starting or just ending."""


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
    ) -> None:
        self._database = database
        self._upstream = upstream
        self.coins = tuple(coins)
        self.currencies = tuple(currencies)
        self._history_days = history_days
        self._task: asyncio.Task[None] | None = None
        self._run_id: UUID | None = None
        self._starting = asyncio.Lock()
        self.lost_database = False  # whether that is how the last run of this process ended

    async def prepare(self, request: RefreshRequest) -> Preparation:
        """Plan a run without starting it."""
        tracked = Tracked(self.coins, self.currencies, self._history_days, self._upstream.history)
        return await prepare(self._database, tracked, request, datetime.now(UTC))

    async def start(
        self, request: RefreshRequest, trigger: RefreshTrigger, *, key: str | None = None
    ) -> tuple[UUID, bool]:
        """Start a run, or join the one under way; tell its id and whether it was started.

        The same `key` always gets the same run, finished or not. Raises RefreshBusyError.
        """
        deadline = asyncio.get_running_loop().time() + _JOIN_SECONDS
        async with self._starting:
            while True:
                joined = await self._join(key)
                if joined is not None:
                    return joined, False
                started = await self._try_start(request, trigger, key)
                if started is not None:
                    return started
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(_POLL_SECONDS / 5)
        raise RefreshBusyError("Another refresh is just starting or ending; try again.")

    async def _join(self, key: str | None) -> UUID | None:
        """Find the run to join: the key's own, or one that is under way here."""
        async with self._database.read() as session:
            if key is not None and (known := await runs.run_of_key(session, key)):
                return known
        here = self._task is not None and not self._task.done()
        return await self._bind(key, self._run_id) if here and self._run_id else None

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
            async with self._database.read() as session:
                other = await runs.running_run(session)
            return (await self._bind(key, other), False) if other else None
        try:
            run, preparation = await self._insert(request, trigger, key, lock)
        except _AnsweredError as answered:
            await lock.release()
            return answered.run_id, False
        except BaseException:
            await lock.release()
            raise
        self._run_id = run.id
        self._task = asyncio.create_task(self._work(run, preparation, lock))
        return run.id, True

    async def _insert(
        self,
        request: RefreshRequest,
        trigger: RefreshTrigger,
        key: str | None,
        lock: AdvisoryLock,
    ) -> tuple[RefreshRun, Preparation]:
        preparation = await self.prepare(request)
        run = RefreshRun(
            id=runs.new_run_id(),
            status=RefreshStatus.RUNNING,
            trigger=trigger,
            request={name: value for name, value in asdict(request).items() if value},
            started_at=datetime.now(UTC),
            planned_calls=preparation.calls,
            seconds_per_call=self._upstream.throttle.interval,
        )
        items = [
            RefreshRunItem(
                run_id=run.id,
                series_id=plan.state.series_id,
                position=position,
                status=ItemStatus.PENDING,
                reason=plan.reason,
            )
            for position, plan in enumerate(preparation.plans)
        ]
        await lock.add(runs.lock_of(run.id))
        async with self._database.write() as session:
            for dead in await runs.interrupt_dead_runs(session):
                log.warning("a run was left behind by a killed process", run=str(dead))
            await runs.insert_run(session, run, items)
            bound = run.id if key is None else await runs.bind_key(session, key, run.id)
            if bound != run.id:
                raise _AnsweredError(bound)
        return run, preparation

    async def _work(self, run: RefreshRun, preparation: Preparation, lock: AdvisoryLock) -> None:
        structlog.contextvars.bind_contextvars(run=str(run.id))
        throttle = self._upstream.throttle
        journal = Journal(self._database, lock, run.id, lambda: throttle.interval)
        try:
            async with lock:
                pipeline = Pipeline(self._upstream, journal)
                await pipeline.run(preparation.plans, preparation.metadata)
            self.lost_database = pipeline.lost_database
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
                await self.bury_dead_runs()
            if not here:
                await asyncio.sleep(_POLL_SECONDS)

    async def interrupt(self) -> None:
        """End this process's run, if there is one, and wait until that is written."""
        if self._task is not None and not self._task.done():
            await asyncio.sleep(0)  # it must have begun, or it ends without releasing its lock
            self._task.cancel()
            await asyncio.wait([self._task])

    async def bury_dead_runs(self) -> None:
        """Mark runs of killed processes INTERRUPTED, unless a run is under way somewhere."""
        try:
            async with AdvisoryLock(self._database, runs.REFRESH_LOCK) as lock:
                if await lock.acquire():
                    async with self._database.write() as session:
                        await runs.interrupt_dead_runs(session)
        except DatabaseUnavailableError as error:
            log.warning("dead runs could not be looked for", error=str(error))

"""Elects one leader among the processes of a deployment, by an advisory lock."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from models.postgres.advisory_lock import LEADER_LOCK, AdvisoryLock
from models.postgres.database import Database, DatabaseUnavailableError

log = structlog.get_logger("coingraph.leadership")

_POLL_SECONDS = 1.0
_VERIFY_SECONDS = 1.0
# A leader that lost its connection may notice it only after this time.
_GRACE_SECONDS = 2 * _VERIFY_SECONDS
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0

RunTasks = Callable[[Callable[[], Awaitable[None]], asyncio.Event], Awaitable[None]]


class LeaderElection:
    """Runs the tasks of the leader while this process is the leader.

    The leader holds an advisory lock in PostgreSQL, which a killed process loses at once. It
    verifies the lock every second and cancels its tasks if the lock is lost; the next leader waits
    _GRACE_SECONDS for that. Still, the tasks must tolerate two leaders for a moment: their argument
    `verify` raises DatabaseUnavailableError if the lock is lost.

    `decided` is set once another process is known to lead, or the tasks have begun.
    """

    def __init__(self, database: Database, tasks: RunTasks) -> None:
        self._database = database
        self._tasks = tasks
        self._reason: str | None = None
        self.decided = asyncio.Event()

    async def run(self) -> None:
        """Take part in the election until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with AdvisoryLock(self._database, LEADER_LOCK) as lock:
                    await self._acquire(lock)
                    pause, self._reason = _FIRST_PAUSE, None
                    await self._lead(lock)
            except DatabaseUnavailableError as error:
                self._log_reason(str(error))
            except Exception:
                log.exception("the tasks of the leader failed")
            self.decided.set()
            await asyncio.sleep(pause * (1 + random.random()))  # noqa: S311 - jitter
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _acquire(self, lock: AdvisoryLock) -> None:
        asked = 0

        def pause() -> float:
            nonlocal asked
            asked += 1
            self.decided.set()
            return _POLL_SECONDS * (0.5 + random.random())  # noqa: S311 - not all at once

        await lock.wait(pause)
        if asked:
            await asyncio.sleep(_GRACE_SECONDS)
            await lock.verify()

    async def _lead(self, lock: AdvisoryLock) -> None:
        """Run the tasks until they fail or the lock is lost, which raises."""
        log.info("leading the deployment")
        tasks = asyncio.ensure_future(self._tasks(lock.verify, self.decided))
        try:
            while True:
                await lock.verify()
                await asyncio.wait([tasks], timeout=_VERIFY_SECONDS)
                if tasks.done():
                    tasks.result()
                    await asyncio.sleep(
                        _VERIFY_SECONDS
                    )  # hold the lock although the tasks are done
        finally:
            tasks.cancel()
            await asyncio.gather(tasks, return_exceptions=True)
            log.info("no longer leading the deployment")

    def _log_reason(self, reason: str) -> None:
        """Log a new reason why this process cannot take part."""
        if reason != self._reason:
            log.warning("cannot take part in the leader election for now", reason=reason)
        self._reason = reason

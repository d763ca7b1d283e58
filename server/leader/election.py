"""One leader among the processes of the deployment: it alone does what nobody asks for."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from models.postgres.advisory_lock import LEADER_LOCK, AdvisoryLock
from models.postgres.database import Database, DatabaseUnavailableError

log = structlog.get_logger("coingraph.leadership")

_ASK_SECONDS = 1.0
_VERIFY_SECONDS = 1.0
# A leader whose connection is gone may not know it for so long.
_GRACE_SECONDS = 2 * _VERIFY_SECONDS
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0

LeaderTasks = Callable[[Callable[[], Awaitable[None]], asyncio.Event], Awaitable[None]]


class LeaderElection:
    """Does the leader's duties while its task runs and this process is the leader.

    The leader holds an advisory lock of PostgreSQL, which a killed process loses at once. It makes
    sure every second that it still has it, and gives its duties up when it has not; whoever comes
    next leaves it the time for that. What the duties do must bear a leader too many all the same:
    `verify`, which they are given, raises DatabaseUnavailableError where the lock is gone.

    `decided` is set once somebody else is known to lead, or the duties have begun.
    """

    def __init__(self, database: Database, tasks: LeaderTasks) -> None:
        self._database = database
        self._tasks = tasks
        self._reason: str | None = None
        self.decided = asyncio.Event()

    async def run(self) -> None:
        """Lead whenever it is this process's turn, until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            try:
                async with AdvisoryLock(self._database, LEADER_LOCK) as lock:
                    await self._take(lock)
                    pause, self._reason = _FIRST_PAUSE, None
                    await self._lead(lock)
            except DatabaseUnavailableError as error:
                self._log_reason(str(error))
            except Exception:
                log.exception("leading failed")
            self.decided.set()
            await asyncio.sleep(pause * (1 + random.random()))  # noqa: S311 - jitter
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _take(self, lock: AdvisoryLock) -> None:
        asked = 0

        def pause() -> float:
            nonlocal asked
            asked += 1
            self.decided.set()
            return _ASK_SECONDS * (0.5 + random.random())  # noqa: S311 - not all at once

        await lock.wait(pause)
        if asked:
            await asyncio.sleep(_GRACE_SECONDS)
            await lock.verify()

    async def _lead(self, lock: AdvisoryLock) -> None:
        """Do the duties until the lock is lost, which raises, or they fail."""
        log.info("leading the deployment")
        tasks = asyncio.ensure_future(self._tasks(lock.verify, self.decided))
        try:
            while True:
                await lock.verify()
                await asyncio.wait([tasks], timeout=_VERIFY_SECONDS)
                if tasks.done():
                    tasks.result()
                    await asyncio.sleep(_VERIFY_SECONDS)  # nothing more to do but to lead
        finally:
            tasks.cancel()
            await asyncio.gather(tasks, return_exceptions=True)
            log.info("no longer leading the deployment")

    def _log_reason(self, reason: str) -> None:
        """Log why nothing is led, once."""
        if reason != self._reason:
            log.warning("not leading for now", reason=reason)
        self._reason = reason

"""Whether PostgreSQL can be reached: every way of losing it is one error, and a circuit breaker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context

import asyncpg
import structlog
from sqlalchemy import exc

log = structlog.get_logger("coingraph.database")

DOUBT_SECONDS = 1.0  # who waits for so long makes us ask whether the database still answers
PROBE_SECONDS = 2.0  # so long it has for a connection and a word
_PAUSE_SECONDS = 0.5  # between two probes, while it does not answer


class DatabaseUnavailableError(Exception):
    """PostgreSQL cannot be reached, or dropped the connection. The message names no secret."""


class DatabaseReadOnlyError(DatabaseUnavailableError):
    """PostgreSQL is there and takes no writes: it is a standby, or was made read-only."""

    def __init__(self) -> None:
        super().__init__(READ_ONLY)


class TooManyConnectionsError(DatabaseUnavailableError):
    """PostgreSQL, or a pooler before it, takes no more connections from us."""


class DatabaseRefusedError(DatabaseUnavailableError):
    """PostgreSQL refuses us, and will until somebody changes something.

    Clients read no more than that it cannot be reached; `remedy` is for operators.
    """

    def __init__(self, remedy: str) -> None:
        super().__init__(_GONE)
        self.remedy = remedy


class WrongPasswordError(DatabaseRefusedError):
    """PostgreSQL refuses the password. One that a file holds may be about to be rotated."""


# The last is what asyncpg raises where a farewell of the server's lies unread.
DRIVER_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)

# Connection exceptions, what a standby cancels, insufficient resources, operator intervention
# (shutdown, a time limit of the server's), bad logins, a database that is not there, a standby that
# takes no writes, failing disks: https://www.postgresql.org/docs/current/errcodes-appendix.html
_UNAVAILABLE = ("08", "40001", "53", "57", "28", "3D", "25006", "58030")
_GONE = "The database cannot be reached."
_SLOW = "The database took too long."
_READ_ONLY_STATE = "25006"
READ_ONLY = "The database takes no writes at the moment."
NO_MORE_CONNECTIONS = "The database takes no more connections."
_REASONS = {
    "40001": "The database interrupted a statement.",
    "53100": "The database has no disk space left.",
    "53300": NO_MORE_CONNECTIONS,
    "57014": _SLOW,
    _READ_ONLY_STATE: READ_ONLY,
}


@contextmanager
def availability() -> Iterator[None]:
    """Turn every way of losing PostgreSQL into DatabaseUnavailableError."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailableError("All database connections are busy.") from error
    except (exc.DBAPIError, exc.InvalidRequestError, *DRIVER_ERRORS) as error:
        if lacking := _lacks(error):
            raise DatabaseRefusedError(lacking) from error
        reason = unavailable_because(error)
        if reason is None:
            raise
        if reason is READ_ONLY:
            raise DatabaseReadOnlyError from error
        raise DatabaseUnavailableError(reason) from error


def _lacks(error: BaseException) -> str | None:
    """Say which right the role lacks; None where it is about something else."""
    cause = error.orig if isinstance(error, exc.DBAPIError) else error
    cause = getattr(cause, "__cause__", None) or cause
    state = getattr(cause, "sqlstate", None)
    if state not in {"42501", "3F000"}:  # 3F000: there is no schema to create tables in
        return None
    return (
        f"the server says: {str(cause).splitlines()[0]}. Let the role own the database (ALTER "
        "DATABASE … OWNER TO …), or allow it to create tables (GRANT CREATE ON SCHEMA public TO "
        "…) and to use those that are there."
    )


def reason_of(error: BaseException) -> str:
    """Say in one line, for a log, why the database is not available."""
    if isinstance(error, DatabaseRefusedError):
        return error.remedy
    return (str(error.__cause__ or error) or repr(error)).splitlines()[0]


def unavailable_because(error: BaseException | None) -> str | None:
    """Tell what this error says of the database's absence; None where it is about the statement."""
    cause = error
    while cause is not None:
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state.startswith(_UNAVAILABLE):
            return _REASONS.get(state, _GONE)
        if isinstance(cause, _LOST) or (
            # asyncpg's word for a connection that is gone, SQLAlchemy's for one that went twice
            isinstance(cause, asyncpg.InterfaceError | exc.InvalidRequestError)
            and "closed" in str(cause)
        ):
            return _GONE
        if isinstance(cause, exc.DBAPIError) and cause.connection_invalidated:
            return _GONE
        cause = cause.orig if isinstance(cause, exc.DBAPIError) else cause.__cause__
    return None


class Breaker:
    """A circuit breaker: once PostgreSQL does not answer, nobody waits for it any more.

    A statement may take long, so its time tells little. While anybody waits for more than a
    second, the database is asked for a word on a new connection, by `probe`. Where that fails, the
    circuit is open: who waits, and who comes, gets DatabaseUnavailableError at once, until a probe
    succeeds. `on_open` is called when it opens, to drop what hangs.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]], on_open: Callable[[], None]) -> None:
        self._probe = probe
        self._on_open = on_open
        self._waiting: dict[asyncio.Timeout, float] = {}  # and since when, the eldest first
        self._probing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._answered = float("-inf")  # when a block ended well

    @property
    def open(self) -> bool:
        return self._open

    @asynccontextmanager
    async def guard(self, seconds: float | None) -> AsyncIterator[None]:
        """Let the block wait for the database, at most so long.

        Raises DatabaseUnavailableError: after that time, or when, or while, the circuit is open.
        """
        if self._open:
            raise DatabaseUnavailableError(_GONE)
        now = asyncio.get_running_loop().time()
        if self._timer is None:
            self._watch()
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                self._waiting[limit] = now
                try:
                    yield
                finally:
                    del self._waiting[limit]
            self._answered = asyncio.get_running_loop().time()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DatabaseUnavailableError(_GONE if self.open else _SLOW) from error

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        # of no request, so not in the context of the one that happens to be the first to wait
        self._timer = loop.call_later(DOUBT_SECONDS, self._look, context=Context())

    def _look(self) -> None:
        """Once a second, while anybody waits."""
        self._timer = None
        if not self._waiting:
            return
        self._watch()
        loop = asyncio.get_running_loop()
        in_doubt = loop.time() - next(iter(self._waiting.values())) >= DOUBT_SECONDS
        if in_doubt and (self._probing is None or self._probing.done()):
            self._probing = loop.create_task(self._ask())

    async def _ask(self) -> None:
        """Ask for a word, and go on asking while there is none."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._probe()
            except Exception as error:  # noqa: BLE001 - whatever it was, it did not answer
                if self._answered >= started:  # as others were answered meanwhile: it is there
                    break
                self._trip(error)
            else:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        if self._open:
            self._open = False
            log.info("the database answers again")

    def _trip(self, error: Exception) -> None:
        if not self._open:
            self._open = True
            log.error("the database does not answer", reason=reason_of(error))
        with contextlib.suppress(Exception):
            self._on_open()
        now = asyncio.get_running_loop().time()
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(now)

"""The errors of an unavailable PostgreSQL, and a circuit breaker for waits on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context

import asyncpg
import structlog
from sqlalchemy import exc

log = structlog.get_logger("coingraph.database")

DOUBT_SECONDS = 1.0  # a longer wait starts a probe of the database
PROBE_SECONDS = 2.0  # the timeout of a probe: a connection and a statement
_PAUSE_SECONDS = 0.5  # between two probes, while the database does not answer


class DatabaseUnavailableError(Exception):
    """PostgreSQL cannot be reached, or dropped the connection. The message names no secret."""


class DatabaseReadOnlyError(DatabaseUnavailableError):
    """PostgreSQL is reachable but takes no writes: it is a standby, or set to read-only."""

    def __init__(self) -> None:
        super().__init__(READ_ONLY)


class TooManyConnectionsError(DatabaseUnavailableError):
    """PostgreSQL, or a pooler in front of it, refuses further connections."""


class DatabaseRefusedError(DatabaseUnavailableError):
    """PostgreSQL refuses connections or statements until an operator changes something.

    The message, which clients see, only says that the database cannot be reached. `remedy` is for
    operators.
    """

    def __init__(self, remedy: str) -> None:
        super().__init__(_GONE)
        self.remedy = remedy


class WrongPasswordError(DatabaseRefusedError):
    """PostgreSQL refuses the password. A password file may be in the middle of a rotation."""


# asyncpg raises InternalClientError if the server has closed the connection with a message unread.
DRIVER_ERRORS = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)

_LOST = (OSError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError)

# Connection exceptions, cancellation by a standby, insufficient resources, operator intervention
# (shutdown, a time limit of the server), failed logins, an unknown database, a write on a standby,
# failing disks: https://www.postgresql.org/docs/current/errcodes-appendix.html
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
    """Convert every error that means "PostgreSQL is unavailable" to DatabaseUnavailableError."""
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
    """Return how to grant the privilege that the role lacks; None for other errors."""
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
    """Return in one line, for a log, why the database is unavailable."""
    if isinstance(error, DatabaseRefusedError):
        return error.remedy
    return (str(error.__cause__ or error) or repr(error)).splitlines()[0]


def unavailable_because(error: BaseException | None) -> str | None:
    """Return why the database is unavailable; None if the error is about the statement."""
    cause = error
    while cause is not None:
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state.startswith(_UNAVAILABLE):
            return _REASONS.get(state, _GONE)
        if isinstance(cause, _LOST) or (
            # asyncpg's message for a lost connection, and SQLAlchemy's for one lost twice
            isinstance(cause, asyncpg.InterfaceError | exc.InvalidRequestError)
            and "closed" in str(cause)
        ):
            return _GONE
        if isinstance(cause, exc.DBAPIError) and cause.connection_invalidated:
            return _GONE
        cause = cause.orig if isinstance(cause, exc.DBAPIError) else cause.__cause__
    return None


class Breaker:
    """A circuit breaker: once PostgreSQL does not answer, callers fail at once instead of waiting.

    A slow statement alone does not show that the database is down. While any caller waits longer
    than DOUBT_SECONDS, `probe` pings the database on a new connection. If that fails, the circuit
    opens: present and new callers get DatabaseUnavailableError at once, until a probe succeeds.
    `on_open` is called when it opens, to close the connections that hang.
    """

    def __init__(self, probe: Callable[[], Awaitable[None]], on_open: Callable[[], None]) -> None:
        self._probe = probe
        self._on_open = on_open
        self._waiting: dict[asyncio.Timeout, float] = {}  # with their start times, oldest first
        self._probing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._answered = float("-inf")  # the end of the last successful block

    @property
    def open(self) -> bool:
        """True while the database does not answer."""
        return self._open

    @asynccontextmanager
    async def guard(self, seconds: float | None) -> AsyncIterator[None]:
        """Limit the block's wait for the database to `seconds`; None for no limit.

        Raises DatabaseUnavailableError after that time, and at once if the circuit is open or
        opens.
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
        """Stop watching and probing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        # in an empty context, not in that of the request that happens to wait first
        self._timer = loop.call_later(DOUBT_SECONDS, self._check, context=Context())

    def _check(self) -> None:
        """Start a probe if any caller waits too long. Runs once a second while any waits."""
        self._timer = None
        if not self._waiting:
            return
        self._watch()
        loop = asyncio.get_running_loop()
        in_doubt = loop.time() - next(iter(self._waiting.values())) >= DOUBT_SECONDS
        if in_doubt and (self._probing is None or self._probing.done()):
            self._probing = loop.create_task(self._probe_until_answered())

    async def _probe_until_answered(self) -> None:
        """Probe the database until it answers."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._probe()
            except Exception as error:  # noqa: BLE001 - any error means that it does not answer
                if self._answered >= started:  # other statements succeeded meanwhile
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

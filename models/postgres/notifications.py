"""Change notifications: NOTIFY in the transaction of a change, LISTEN in every process."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import orjson
import structlog
from sqlalchemy import text

from models.backoff import pause_after
from models.postgres.circuit_breaker import reason_of
from models.postgres.connection import CONNECT_SECONDS
from models.postgres.database import DRIVER_ERRORS, Database, WriteSession

log = structlog.get_logger("coingraph.notifications")

# Payloads: {"series": id, "revision": number, "deployment": number}, the latter being the
# deployment's revision; {"catalogue": true} for coins, metadata and currencies; {"run": id} for a
# refresh run and its items. Any other payload means that anything may have changed.
CHANNEL = "coingraph_prices"
APPLICATION_NAME = "coingraph listener"

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0  # delays the events of subscriptions
_PROBE_SECONDS = 3.0  # a dead connection is noticed after at most twice this time

# SQL that notifies on commit that a series has changed; evaluated on rows with `id`, `revision` and
# `deployment_revision`.
NOTIFY_SERIES = f"""
    pg_notify('{CHANNEL}', format('{{"series": %s, "revision": %s, "deployment": %s}}',
                                  id, revision, deployment_revision))
"""
_IS_LISTENING = """
    SELECT $1 = ANY (SELECT pg_listening_channels()) AND NOT pg_is_in_recovery()
"""
_MARK = "SELECT pg_advisory_lock_shared($1::int, $2::int)"  # never taken exclusively
_NOTIFY = text("SELECT pg_notify(:channel, :payload)")


async def notify_catalogue(session: WriteSession) -> None:
    """NOTIFY on commit that coins, metadata, currencies or the set of series changed."""
    change = {"channel": CHANNEL, "payload": '{"catalogue": true}'}
    await session.execute(_NOTIFY, change)


async def notify_anything(session: WriteSession) -> None:
    """NOTIFY on commit that anything may have changed, so that all caches are cleared."""
    change = {"channel": CHANNEL, "payload": '{"anything": true}'}
    await session.execute(_NOTIFY, change)


async def notify_run(session: WriteSession, run_id: UUID) -> None:
    """NOTIFY on commit that a refresh run has changed."""
    change = {"channel": CHANNEL, "payload": f'{{"run": "{run_id}"}}'}
    await session.execute(_NOTIFY, change)


class ChangeSubscriber(Protocol):
    """Receives changes from a Listener. The methods must neither block nor raise."""

    def series_changed(self, series_id: int, revision: int) -> None:
        """Handle a change of a series; `revision` is the deployment's revision after it."""
        ...

    def catalogue_changed(self) -> None:
        """Handle a change of coins, metadata, currencies or the set of series."""
        ...

    def run_changed(self, run_id: str) -> None:
        """Handle a change of a refresh run."""
        ...

    def anything_changed(self) -> None:
        """Handle possibly missed changes: everything read before may be outdated."""
        ...


class Listener:
    """Receives every change while its task runs, on a dedicated connection.

    `listening` is False whenever changes could be missed. It becomes True only after the
    subscribers were notified that anything may have changed. While it listens, the connection holds
    a shared advisory lock with the key `mark`, which shows in pg_locks that this process runs.
    """

    def __init__(self, database: Database, mark: tuple[int, int] | None = None) -> None:
        self._database = database
        self._mark = mark
        self._subscribers: list[ChangeSubscriber] = []
        self._connection: asyncpg.Connection | None = None
        self._busy = asyncio.Lock()  # one statement at a time on the connection
        self._listening = False
        database.read_only.renewed.append(self._notify_of_anything)

    @property
    def listening(self) -> bool:
        """True while no change can be missed."""
        # a standby may lack a change that this process was notified of
        return self._listening and not self._database.read_only.on_standby

    @listening.setter
    def listening(self, value: bool) -> None:
        self._listening = value

    def subscribe(self, subscriber: ChangeSubscriber) -> None:
        """Add a subscriber."""
        self._subscribers.append(subscriber)

    def unsubscribe(self, subscriber: ChangeSubscriber) -> None:
        """Remove a subscriber."""
        self._subscribers.remove(subscriber)

    async def run(self) -> None:
        """Listen until cancelled; reconnects when the connection is lost."""
        failures, pause = 1, _FIRST_PAUSE
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 - reconnect after any error
                failures = 1 if self.listening else failures + 1
                pause = pause_after(failures, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
                log.warning(
                    "not listening for changes", reason=reason_of(error), retry_seconds=pause
                )
            finally:
                self._stop_listening()
            await asyncio.sleep(pause)

    async def catch_up(self) -> None:
        """Wait until every change committed before this call has been received.

        PostgreSQL signals listeners before it confirms a commit, and sends them the notifications
        before it completes the response to their next statement.
        """
        connection = self._connection
        if connection is None:
            return  # the caches were cleared when the connection was lost
        try:
            await self._probe(connection)
        except DRIVER_ERRORS:
            self._stop_listening()
            connection.terminate()  # `run` opens a new one

    async def _listen(self) -> None:
        """Listen on one connection until it is lost, which raises."""
        connection = await self._database.connect(APPLICATION_NAME)
        closed = asyncio.Event()

        def close(_: object) -> None:
            closed.set()
            self._stop_listening()

        connection.add_termination_listener(close)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.add_listener(CHANNEL, self._hear)
                if self._mark:
                    await connection.execute(_MARK, *self._mark)
            self._connection = connection
            # A session that can listen is on the primary, and new sessions can be too. Everything
            # read so far, possibly from a standby, may be outdated.
            self._database.read_only.renew()
            self.listening = not closed.is_set()
            while not closed.is_set():
                await self._probe(connection)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PROBE_SECONDS):
                        await closed.wait()
            raise ConnectionError("PostgreSQL closed the connection")
        finally:
            connection.terminate()

    async def _probe(self, connection: asyncpg.Connection) -> None:
        async with self._busy:
            listening = await connection.fetchval(_IS_LISTENING, CHANNEL, timeout=_PROBE_SECONDS)
        if not listening:
            raise ConnectionError("the connection leads to another session of PostgreSQL")

    def _stop_listening(self) -> None:
        self.listening, self._connection = False, None
        self._notify_of_anything()

    def _notify_of_anything(self) -> None:
        self._notify_all(lambda subscriber: subscriber.anything_changed())

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        match _parse(payload):
            case {"series": int(series_id), "deployment": int(revision)}:
                self._notify_all(lambda subscriber: subscriber.series_changed(series_id, revision))
            case {"catalogue": True}:
                self._notify_all(lambda subscriber: subscriber.catalogue_changed())
            case {"run": str(run_id)}:
                self._notify_all(lambda subscriber: subscriber.run_changed(run_id))
            case _:
                self._notify_all(lambda subscriber: subscriber.anything_changed())

    def _notify_all(self, notify: Callable[[ChangeSubscriber], None]) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                notify(subscriber)
            except Exception:
                log.exception("a subscriber failed to handle a change")


def _parse(payload: object) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(str(payload))
    except orjson.JSONDecodeError:
        return None

"""Records SQL statements."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import event

from models.postgres.database import Database
from resolvers.scheduling.event_loop_turns import is_in_operation


@contextlib.asynccontextmanager
async def statements(database: Database, *, background: bool = True) -> AsyncIterator[list[str]]:
    """Collect the statements sent through SQLAlchemy and through asyncpg directly.

    Without `background`, only those of GraphQL operations: a server marks interrupted runs, stores
    its pace and more, a second after its start and later.
    """
    sent: list[str] = []
    engine = database.engine.sync_engine

    def note(statement: str) -> None:
        if background or is_in_operation():
            sent.append(statement)

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        note(statement)

    def logged(record: Any) -> None:
        if not any(word in record.query for word in ("typeinfo_tree", "'jit'")):
            note(record.query)  # asyncpg asks those of each new connection, for types

    def taken(connection: Any, *_: object) -> None:
        connection.driver_connection.add_query_logger(logged)

    def returned(connection: Any, *_: object) -> None:
        connection.driver_connection.remove_query_logger(logged)

    listeners = (
        (engine, "before_cursor_execute", executed),
        (engine.pool, "checkout", taken),
        (engine.pool, "checkin", returned),
    )
    await database.put_back_spares()  # so that all are taken from the pool, and given back to it
    for listener in listeners:
        event.listen(*listener)
    try:
        yield sent
    finally:
        await database.put_back_spares()  # likewise
        for listener in listeners:
            event.remove(*listener)

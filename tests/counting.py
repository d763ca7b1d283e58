"""Records SQL statements."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import event

from models.postgres.database import Database


@contextlib.asynccontextmanager
async def statements(database: Database) -> AsyncIterator[list[str]]:
    """Collect the statements sent through SQLAlchemy and through asyncpg directly."""
    sent: list[str] = []
    engine = database.engine.sync_engine

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    def logged(record: Any) -> None:
        if not any(word in record.query for word in ("typeinfo_tree", "'jit'")):
            sent.append(record.query)  # asyncpg asks those of each new connection, for types

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

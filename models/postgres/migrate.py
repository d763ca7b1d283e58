"""Migrates a database to the newest schema, once even if several processes start together."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from models.postgres.database import Database, ReadSession

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
MIGRATION_LOCK = 0x636F696E_6D696772  # "coinmigr"


class NewerDatabaseError(Exception):
    """The database was migrated by a newer version of coingraph."""


class OutdatedDatabaseError(Exception):
    """The database lacks migrations that this code needs."""


# Not to_regclass(): within a transaction, it does not see a table that another has just created.
_HAS_VERSION = text("""
    SELECT EXISTS (
        SELECT FROM pg_tables
        WHERE tablename = 'alembic_version' AND schemaname = ANY (current_schemas(false))
    )
""")


def newest_revision() -> str:
    """Return the number of the newest migration, such as "0009".

    It is read from the file names (`0001_first_light.py`): importing alembic takes longer than
    everything else at a start without migrations.
    """
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).split("_")[0]


async def current_revision(database: Database) -> str | None:
    """Return the number of the database's migration; None for an empty database."""
    async with database.read() as session:
        return await _revision(session)


async def _revision(session: ReadSession) -> str | None:
    if not await session.scalar(_HAS_VERSION):
        return None
    version: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
    return version


async def check_migrated(database: Database) -> None:
    """Raise OutdatedDatabaseError or NewerDatabaseError unless it is up to date. Only reads."""
    async with database.read() as session:
        if await _is_up_to_date(session):
            return
        current = await _revision(session)
    what = f"is at migration {current}, not {newest_revision()}" if current else "has no tables yet"
    raise OutdatedDatabaseError(f"The database {what}: run `coingraph migrate`.")


async def migrate(database: Database) -> bool:
    """Migrate the database. Returns True if any migration was applied."""
    async with database.read() as session:
        if await _is_up_to_date(session):
            return False
    async with database.write(seconds=None) as session:  # migrating large tables takes long
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        if await _is_up_to_date(session):  # another process was first
            return False
        await (await session.connection()).run_sync(_upgrade)
    return True


async def _is_up_to_date(session: ReadSession) -> bool:
    current, newest = await _revision(session), newest_revision()
    if current is not None and current > newest:
        raise NewerDatabaseError(
            f"The database is at migration {current}, this coingraph knows {newest}: "
            "start the newer coingraph, or restore the backup made before the upgrade."
        )
    return current == newest


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see newest_revision

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> "Config":
    """Create alembic's configuration, in place of an alembic.ini."""
    from alembic.config import Config  # noqa: PLC0415 - see newest_revision

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

"""Bringing a database up to date, once, however many processes start together."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from models.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
MIGRATION_LOCK = 0x636F696E_6D696772  # "coinmigr"


class NewerDatabaseError(Exception):
    """The database was migrated by a newer coingraph than this one."""


def newest_revision() -> str:
    """Name the migration this code wants.

    Read from the file names (`0001_first_light.py`), because loading alembic takes longer than
    everything else at a start that has nothing to migrate.
    """
    return max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).split("_")[0]


async def current_revision(database: Database) -> str | None:
    """Name the migration the database has, None for an empty database."""
    async with database.read() as session:
        if await session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
            return None
        version: str | None = await session.scalar(text("SELECT version_num FROM alembic_version"))
        return version


async def migrate(database: Database) -> bool:
    """Bring the database up to date; True when that took any migration."""
    current = await current_revision(database)
    if current == newest_revision():
        return False
    if current is not None and current > newest_revision():
        raise NewerDatabaseError(
            f"The database is at migration {current}, this coingraph knows {newest_revision()}: "
            "start the newer coingraph, or restore the backup made before the upgrade."
        )
    async with database.write() as session:
        await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        await (await session.connection()).run_sync(_upgrade)
    return True


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - see newest_revision

    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def alembic_config() -> "Config":
    """Make alembic's configuration; there is no alembic.ini to keep in step."""
    from alembic.config import Config  # noqa: PLC0415 - see newest_revision

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

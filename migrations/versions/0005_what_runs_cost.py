"""The cost of a run's calls, per run and series; keys that are deleted with their runs."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns, and an index on the keys of runs."""
    for table in ("refresh_run", "refresh_run_item"):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN retries integer NOT NULL DEFAULT 0, "
            "ADD COLUMN seconds_waited double precision NOT NULL DEFAULT 0"
        )
    # without this index, deleting an old run would scan all keys
    op.execute("CREATE INDEX ix_refresh_run_key_run_id ON refresh_run_key (run_id)")

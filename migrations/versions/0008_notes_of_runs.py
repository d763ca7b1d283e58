"""Notes of a run and of its items on values that were dropped."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns."""
    for table in ("refresh_run", "refresh_run_item"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN note text")

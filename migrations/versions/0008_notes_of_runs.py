"""What a run and its items say of values that were not kept."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    for table in ("refresh_run", "refresh_run_item"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN note text")

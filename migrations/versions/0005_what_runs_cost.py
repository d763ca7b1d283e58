"""What the calls of a run and of each of its series cost; keys that go with their runs."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    for table in ("refresh_run", "refresh_run_item"):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN retries integer NOT NULL DEFAULT 0, "
            "ADD COLUMN seconds_waited double precision NOT NULL DEFAULT 0"
        )
    # old runs are deleted, and each would look through all keys for its own
    op.execute("CREATE INDEX ix_refresh_run_key_run_id ON refresh_run_key (run_id)")

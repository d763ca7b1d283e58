"""The newest hour from a chart: later hours are provisional, from live prices."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and fill it."""
    op.execute("ALTER TABLE series ADD COLUMN charted_to timestamptz")
    op.execute("UPDATE series SET charted_to = last_bucket")

"""Gaps of upstream, and how far back its daily points were requested."""

from alembic import op

revision = "0002"
down_revision = "0001"

# No foreign key, as on the prices: every writer locks the series' row.
GAPS = """
CREATE TABLE price_gap (
    series_id integer NOT NULL,
    starts timestamptz NOT NULL,
    ends timestamptz NOT NULL,
    asked integer NOT NULL DEFAULT 0,
    CONSTRAINT pk_price_gap PRIMARY KEY (series_id, starts)
)
"""


def upgrade() -> None:
    """Create the table of gaps and add the column."""
    op.execute("ALTER TABLE series ADD COLUMN daily_from timestamptz")
    op.execute(GAPS)

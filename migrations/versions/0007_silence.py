"""Gaps of hours and of days: when they were first requested, and how often.

The earlier rule confirmed a gap after three responses, whatever the time between them. Its results
are deleted, so that the next refresh requests all gaps again.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

# No foreign key, as on the prices: every writer locks the series' row.
GAPS_OF_DAYS = """
CREATE TABLE price_gap_daily (
    series_id integer NOT NULL,
    starts timestamptz NOT NULL,
    ends timestamptz NOT NULL,
    asked integer NOT NULL DEFAULT 0,
    answered integer NOT NULL DEFAULT 0,
    asked_since timestamptz NOT NULL,
    asked_at timestamptz NOT NULL,
    CONSTRAINT pk_price_gap_daily PRIMARY KEY (series_id, starts)
)
"""

# Earlier versions moved the start of the history after an empty first load, and counted a success.
HISTORY_WITHOUT_HOURS = """
UPDATE series SET history_from = NULL, last_success_at = NULL
WHERE first_bucket IS NULL
"""


def upgrade() -> None:
    """Change the table of gaps, create the one of days, and correct empty first loads."""
    op.execute("DELETE FROM price_gap")
    op.execute(
        "ALTER TABLE price_gap ADD COLUMN answered integer NOT NULL DEFAULT 0, "
        "ADD COLUMN asked_since timestamptz NOT NULL, ADD COLUMN asked_at timestamptz NOT NULL"
    )
    op.execute(GAPS_OF_DAYS)
    op.execute(HISTORY_WITHOUT_HOURS)

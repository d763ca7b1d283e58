"""Gaps that upstream left: since when and how often they were asked for, of hours and of days.

The rule before this one took hours for upstream's own gaps after three answers, whenever those
came. What it had settled is forgotten, so that the next refresh asks for all of it.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

# No foreign key, as on the prices: every writer locks the series' own row.
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

# An empty answer of a first load moved the start of the history, and counted as a success.
HISTORY_WITHOUT_HOURS = """
UPDATE series SET history_from = NULL, last_success_at = NULL
WHERE first_bucket IS NULL
"""


def upgrade() -> None:
    op.execute("DELETE FROM price_gap")
    op.execute(
        "ALTER TABLE price_gap ADD COLUMN answered integer NOT NULL DEFAULT 0, "
        "ADD COLUMN asked_since timestamptz NOT NULL, ADD COLUMN asked_at timestamptz NOT NULL"
    )
    op.execute(GAPS_OF_DAYS)
    op.execute(HISTORY_WITHOUT_HOURS)

"""One pace for all processes that call upstream, and the credits spent by calls."""

from alembic import op

revision = "0006"
down_revision = "0005"

# A single row that is updated by each call: with free space on its page, updates are HOT.
PACE = """
CREATE TABLE upstream_pace (
    id integer NOT NULL,
    last_departure timestamptz NOT NULL,
    paused_until timestamptz NOT NULL,
    stretch double precision NOT NULL,
    slowdowns integer NOT NULL DEFAULT 0,
    refusals_in_a_row integer NOT NULL DEFAULT 0,
    CONSTRAINT pk_upstream_pace PRIMARY KEY (id)
) WITH (fillfactor = 10)
"""

FIRST = """
INSERT INTO upstream_pace (id, last_departure, paused_until, stretch)
VALUES (1, to_timestamp(0), to_timestamp(0), 1)
"""

CREDITS = """
CREATE TABLE upstream_credits (
    month date NOT NULL,
    spent bigint NOT NULL DEFAULT 0,
    CONSTRAINT pk_upstream_credits PRIMARY KEY (month)
) WITH (fillfactor = 10)
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(PACE)
    op.execute(FIRST)
    op.execute(CREDITS)

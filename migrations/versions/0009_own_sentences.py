"""Stored errors contain only texts of this program: earlier versions appended upstream's texts.

All readers can see these columns, and upstream may quote a password that it was sent.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

# From the first parenthesis to the last, because upstream's text may contain parentheses.
_THEIR_WORDS = r" \(.*\)| is encoded as .*| Did you mean .*"


def upgrade() -> None:
    """Remove upstream's texts from stored errors."""
    for table, column in (
        ("series", "last_error"),
        ("refresh_run", "error"),
        ("refresh_run_item", "error"),
    ):
        op.execute(
            f"UPDATE {table} SET {column} = regexp_replace({column}, '{_THEIR_WORDS}', '', 'g') "  # noqa: S608 - constants
            f"WHERE {column} ~ '{_THEIR_WORDS}'"
        )

"""Errors hold our own sentences alone: earlier versions stored what upstream said, in parentheses.

Everybody may read these columns, and upstream may quote a password that it was sent.
"""

from alembic import op

revision = "0009"
down_revision = "0008"

# From the first parenthesis to the last: what upstream said may have any between them.
_THEIR_WORDS = r" \(.*\)| is encoded as .*| Did you mean .*"


def upgrade() -> None:
    for table, column in (
        ("series", "last_error"),
        ("refresh_run", "error"),
        ("refresh_run_item", "error"),
    ):
        op.execute(
            f"UPDATE {table} SET {column} = regexp_replace({column}, '{_THEIR_WORDS}', '', 'g') "  # noqa: S608 - constants
            f"WHERE {column} ~ '{_THEIR_WORDS}'"
        )

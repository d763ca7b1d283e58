"""What every writer of prices keeps to: the order of locks and revisions."""

from sqlalchemy import text

# Every writer begins with this, and in this order: so two of them never write one series at once,
# nor wait for each other. Runs may still refer to the series meanwhile. It goes through the
# session, which begins the transaction with it; what follows goes straight to the driver.
LOCK_SERIES = text("""
    SELECT history_from, first_bucket, last_bucket, charted_to FROM series
    WHERE id = ANY(:series) ORDER BY id FOR NO KEY UPDATE
""")

# The deployment's revision grows with each transaction that changes a series. Its one row is locked
# from then on to the commit, so these revisions are committed in their order: who has read one of
# them has seen all before it. It comes after the series' rows, of which a transaction therefore
# locks all that it will write at its beginning; else two of them could wait for each other.
COUNT_CHANGE = """
    UPDATE deployment SET revision = deployment.revision + 1 WHERE {changed}
    RETURNING deployment.revision AS counted
"""

"""The order in which all writers of prices take locks and count revisions."""

from sqlalchemy import text

# Every writer first locks its series, in this order, so that two writers neither write one series
# at once nor deadlock. The lock mode still admits foreign keys to the series. This statement goes
# through the session, which begins the transaction; later ones go to the driver.
LOCK_SERIES = text("""
    SELECT history_from, first_bucket, last_bucket, charted_to FROM series
    WHERE id = ANY(:series) ORDER BY id FOR NO KEY UPDATE
""")

# The deployment's revision grows with each transaction that changes a series. Its single row stays
# locked until the commit, so revisions are committed in ascending order: a reader that sees one of
# them sees all earlier ones. The row is locked after the series' rows, so a transaction must lock
# all its series at its beginning; otherwise two transactions could deadlock.
COUNT_CHANGE = """
    UPDATE deployment SET revision = deployment.revision + 1 WHERE {changed}
    RETURNING deployment.revision AS counted
"""

"""Reading which hours of a series upstream has answered for, with a price or with nothing."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from models.database import Database, ReadSession
from models.gaps import SETTLED, hours_in
from models.price_tables import BUCKETS, GAPS


async def answered_hours(
    session: ReadSession, series_ids: Sequence[int], since: datetime
) -> dict[int, npt.NDArray[np.datetime64]]:
    """Read which hours of these series need not be asked for, by rising time.

    A chart gave them, or upstream was asked for them often enough to know that it has none.
    """
    driver = await session.driver()
    rows = await driver.fetch(_ANSWERED, series_ids, since, SETTLED)
    found = {}
    for series_id, buckets, gaps in rows:
        stored = BUCKETS.decode(buckets)["bucket"]
        hours = np.concatenate((stored, hours_in(GAPS.decode(gaps))))
        hours.sort(kind="stable")  # which takes hardly any time where they come in order
        again = hours[1:] == hours[:-1]
        found[series_id] = np.delete(hours, np.flatnonzero(again)).astype("datetime64[us]")
    return found


_ANSWERED = f"""
    SELECT wanted.id,
           {BUCKETS.reading("series_id = wanted.id AND bucket >= $2 AND bucket <= charted_to")},
           {GAPS.reading("series_id = wanted.id AND ends > $2 AND asked >= $3")}
    FROM series AS wanted WHERE id = ANY($1::int[])
"""  # noqa: S608 - constants of this module alone


async def upstream_gaps(
    database: Database, series_ids: Sequence[int]
) -> dict[int, npt.NDArray[np.datetime64]]:
    """Give the hours that upstream does not have, by rising time; of each series that has such."""
    rows = await database.fetch(_SETTLED, [str(each) for each in series_ids], SETTLED)
    return {
        series_id: hours_in(GAPS.decode(gaps)).astype("datetime64[us]") for series_id, gaps in rows
    }


_SETTLED = f"""
    SELECT wanted.id, {GAPS.reading("series_id = wanted.id AND asked >= $2")}
    FROM unnest($1::text[]::int[]) AS wanted (id)
"""  # noqa: S608 - constants of this module alone

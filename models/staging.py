"""COPY into the staging table: hourly samples as numpy arrays, no Python per row."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import text

from models.database import WriteSession


@dataclass(frozen=True, slots=True)
class Hours:
    """Hourly samples of one series, by rising bucket. Times are microseconds since 1970.

    Market cap and volume are NaN where upstream gave none.
    """

    bucket: npt.NDArray[np.int64]
    observed_at: npt.NDArray[np.int64]
    price: npt.NDArray[np.float64]
    market_cap: npt.NDArray[np.float64]
    volume: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.bucket)


async def stage(session: WriteSession, hours: Hours) -> None:
    """Bring the hours into the staging table of this connection."""
    await session.execute(_STAGING_TABLE)
    await session.execute(_EMPTY_STAGING)
    driver = await session.driver()
    await driver.copy_to_table(
        "staged_hour",
        source=io.BytesIO(_copy_stream(hours)),
        columns=["bucket", "observed_at", "price", "market_cap", "volume"],
        format="binary",
    )


_POSTGRES_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970
_COPY_HEADER = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_COPY_TRAILER = b"\xff\xff"


def _copy_stream(hours: Hours) -> bytes:
    """Lay out COPY's binary format for all rows at once.

    Each row is its number of fields, then each field's length and content, all big-endian:
    https://www.postgresql.org/docs/current/sql-copy.html
    """
    names = ["bucket", "observed_at", "price", "market_cap", "volume"]
    layout: list[tuple[str, str]] = [("fields", ">i2")]
    for name in names:
        kind = ">i8" if name in {"bucket", "observed_at"} else ">f8"
        layout += [(f"{name}_length", ">i4"), (name, kind)]
    rows = np.empty(len(hours), dtype=layout)
    rows["fields"] = len(names)
    for name in names:
        rows[f"{name}_length"] = 8
    rows["bucket"] = hours.bucket - _POSTGRES_EPOCH
    rows["observed_at"] = hours.observed_at - _POSTGRES_EPOCH
    for name in names[2:]:
        rows[name] = getattr(hours, name)
    return _COPY_HEADER + rows.tobytes() + _COPY_TRAILER


_STAGING_TABLE = text("""
    CREATE TEMPORARY TABLE IF NOT EXISTS staged_hour (
        bucket timestamptz NOT NULL,
        observed_at timestamptz NOT NULL,
        price double precision NOT NULL,
        market_cap double precision NOT NULL,
        volume double precision NOT NULL
    ) ON COMMIT DELETE ROWS
""")

_EMPTY_STAGING = text("TRUNCATE staged_hour")

"""Series: what is known of one coin in one currency, and how fresh it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text, tuple_, update
from sqlmodel import col

from models.database import ReadSession, WriteSession
from models.tables import PriceLatest, Series

SeriesKey = tuple[str, str]  # coin id, currency code


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What a price query needs to know of a series."""

    id: int
    coin_id: str
    currency_code: str
    revision: int
    history_from: datetime | None


@dataclass(frozen=True, slots=True)
class SeriesWithLatest:
    """A series beside its newest price, None where it has none yet."""

    series: Series
    latest: PriceLatest | None


_SERIES_WITH_LATEST = select(Series, PriceLatest).join(
    PriceLatest, col(PriceLatest.series_id) == col(Series.id), isouter=True
)


async def series_by_key(
    session: ReadSession, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, SeriesFacts]:
    """Find series by coin and currency. On asyncpg itself, as every price query begins with it."""
    driver = await session.driver()
    coins, currencies = zip(*keys, strict=True) if keys else ((), ())
    rows = await driver.fetch(_FACTS, coins, currencies)
    return {(row["coin_id"], row["currency_code"]): SeriesFacts(**row) for row in rows}


_FACTS = """
    SELECT id, coin_id, currency_code, revision, history_from
    FROM series JOIN unnest($1::text[], $2::text[]) AS wanted (coin_id, currency_code)
        USING (coin_id, currency_code)
"""


async def latest_by_key(
    session: ReadSession, keys: Sequence[SeriesKey]
) -> dict[SeriesKey, SeriesWithLatest]:
    """Read these series with their newest prices."""
    wanted = tuple_(col(Series.coin_id), col(Series.currency_code)).in_(keys)
    rows = await session.execute(_SERIES_WITH_LATEST.where(wanted))
    return {
        (series.coin_id, series.currency_code): SeriesWithLatest(series, latest)
        for series, latest in rows
    }


async def series_with_latest(
    session: ReadSession, coins: Sequence[str] | None, currencies: Sequence[str] | None
) -> list[SeriesWithLatest]:
    """List series by coin and currency; None asks for all of them."""
    query = _SERIES_WITH_LATEST.order_by(col(Series.coin_id), col(Series.currency_code))
    if coins is not None:
        query = query.where(col(Series.coin_id).in_(coins))
    if currencies is not None:
        query = query.where(col(Series.currency_code).in_(currencies))
    rows = await session.execute(query)
    return [SeriesWithLatest(series, latest) for series, latest in rows]


async def record_failure(session: WriteSession, series_id: int, error: str) -> None:
    """Note why a series could not be refreshed. Its prices, and so its revision, stay."""
    await session.execute(
        update(Series)
        .where(col(Series.id) == series_id)
        .values(
            last_error=error,
            last_error_at=func.now(),
            consecutive_failures=Series.consecutive_failures + 1,
        )
    )


async def newest_observation_age(session: ReadSession) -> float | None:
    """Tell the age in seconds of the newest price of all, None without any."""
    age: float | None = await session.scalar(
        text("SELECT extract(epoch FROM now() - max(observed_at))::float8 FROM price_latest")
    )
    return age

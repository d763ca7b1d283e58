"""How much is kept, for those who reckon what an answer will cost."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models.coins import CoinMatch, count_coins
from models.postgres.database import Database
from models.series import list_series
from resolvers.ranges import BEGINNING

_A_YEAR = timedelta(days=366)  # of days is brought in any case


@dataclass(frozen=True, slots=True)
class DataExtent:
    """What a caller gets who names neither a start nor coins nor currencies."""

    coins: int
    currencies: int
    hours_from: datetime
    days_from: datetime = BEGINNING

    @property
    def series(self) -> int:
        return self.coins * self.currencies


async def read_data_extent(database: Database, history_days: int, now: datetime) -> DataExtent:
    """Count it, and as history what refreshes will bring where nothing is there yet."""
    series = await list_series(database, None, None)
    hours = [each.history_from for each in series if each.history_from]
    days = [each.daily_from for each in series if each.daily_from]
    hours_from = min([*hours, now - timedelta(days=history_days)])
    return DataExtent(
        coins=await count_coins(database, CoinMatch(None, None, None)),
        currencies=len({each.currency_code for each in series}),
        hours_from=hours_from,
        days_from=min([*days, hours_from, now - _A_YEAR]),
    )

"""The amount of stored data, from which costs are estimated."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from models.coins import CoinMatch, count_coins
from models.postgres.database import Database
from models.series import list_series
from resolvers.ranges import BEGINNING

_A_YEAR = timedelta(days=366)  # the minimum of the daily history


@dataclass(frozen=True, slots=True)
class DataExtent:
    """What a request without a start, coins or currencies covers.

    `hours_from` and `days_from` are the starts of the hourly and the daily history.
    """

    coins: int
    currencies: int
    hours_from: datetime
    days_from: datetime = BEGINNING

    @property
    def series(self) -> int:
        """The highest possible number of series."""
        return self.coins * self.currencies


async def read_data_extent(database: Database, history_days: int, now: datetime) -> DataExtent:
    """Read the extent from the database.

    The configured history counts even if it is not loaded yet.
    """
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

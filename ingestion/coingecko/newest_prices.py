"""The newest price of everything tracked, by one call."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingestion.coingecko.circuit_breaker import Outage
from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.types import CallStats
from models.prices.write_latest import NewestPrice
from models.series import SeriesKey


@dataclass(frozen=True, slots=True)
class SeriesQuotes:
    """What was found, and which series upstream left out or gave no usable price for.

    `dropped` says of the latter why; `extras` counts malformed market caps, volumes and changes.
    """

    found: list[NewestPrice]
    missing: list[SeriesKey]
    dropped: Mapping[SeriesKey, str] = field(default_factory=dict)
    extras: int = 0


async def fetch_newest_prices(
    upstream: CoinGecko,
    series: Mapping[SeriesKey, int],
    *,
    stats: CallStats | None = None,
    outage: Outage | None = None,
) -> SeriesQuotes:
    """Ask for the newest price of each series, given with its id. Raises UpstreamError.

    `outage` is as for `CoinGecko.simple_price`.
    """
    coins = list(dict.fromkeys(coin for coin, _ in series))
    currencies = list(dict.fromkeys(currency for _, currency in series))
    quotes = await upstream.simple_price(coins, currencies, stats=stats, outage=outage)
    found = [
        NewestPrice(
            series_id=series[quote.coin_id, quote.currency_code],
            observed_at=quote.observed_at,
            price=quote.price,
            market_cap=quote.market_cap,
            volume=quote.volume,
            change_24h=quote.change_24h,
        )
        for quote in quotes.found
        if (quote.coin_id, quote.currency_code) in series
    ]
    return SeriesQuotes(
        found,
        [key for key in quotes.missing if key in series],
        {key: why for key, why in quotes.dropped.items() if key in series},
        quotes.extras,
    )

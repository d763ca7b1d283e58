"""Fetches the newest prices of many series."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingestion.coingecko.circuit_breaker import CircuitBreaker
from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.types import CallStats
from models.prices.write_latest import NewestPrice
from models.series import SeriesKey


@dataclass(frozen=True, slots=True)
class SeriesQuotes:
    """The newest prices of series, and the series without a usable price.

    `missing` lists the series that upstream left out or gave no usable price for; `dropped` maps
    the latter to the reason. `extras` counts malformed market caps, volumes and changes.
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
    outage: CircuitBreaker | None = None,
) -> SeriesQuotes:
    """Fetch the newest price of each series; `series` maps (coin, currency) to the series' id.

    `outage` is passed to `CoinGecko.simple_price`. Raises UpstreamError.
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

"""Response bodies of the endpoints for coins and their newest prices."""

from datetime import UTC, datetime
from typing import Any

import numpy as np

from simulator.catalog import COINS, CURRENCIES, SimulatedCoin
from simulator.market import Market

_IMAGES = "https://coin-images.coingecko.com/coins/images"
_MOST_DIGITS = 18
# Without `precision`, prices from here on come as whole numbers.
_WHOLE_FROM = 10_000


def coin_list() -> list[dict[str, str]]:
    """All coins, by id as CoinGecko sorts them. Symbols are not unique."""
    return [
        {"id": coin.id, "symbol": coin.symbol, "name": coin.name}
        for coin in sorted(COINS.values(), key=lambda coin: coin.id)
    ]


def is_precision(text: str | None) -> bool:
    return text in (None, "full") or (
        str(text).isascii() and str(text).isdigit() and int(str(text)) <= _MOST_DIGITS
    )


def rounded(value: float, precision: str | None) -> float:
    if precision == "full":
        return value
    if precision is not None:
        return round(value, int(precision))
    if abs(value) >= _WHOLE_FROM:
        return round(value)
    return round(value, 2) if abs(value) >= 1 else float(f"{value:.6g}")


def simple_price(market: Market, query: dict[str, str], now: float) -> dict[str, dict[str, Any]]:
    """`/simple/price`: unknown coins and currencies are left out without an error."""
    wanted = {name for name, value in query.items() if value == "true"}
    answer: dict[str, dict[str, Any]] = {}
    for coin_id in _names(query["ids"]):
        coin = COINS.get(coin_id)
        if coin is None:
            continue
        at = market.last_update(coin, now)
        quote: dict[str, Any] = {}
        for currency in _names(query["vs_currencies"].lower()):
            if currency in CURRENCIES:
                quote |= _quote(market, coin, currency, at, wanted, query.get("precision"))
        if "include_last_updated_at" in wanted:
            quote["last_updated_at"] = at
        answer[coin_id] = quote
    return answer


def coin_detail(
    market: Market, coin: SimulatedCoin, query: dict[str, str], now: float
) -> dict[str, Any]:
    """`/coins/{id}`: the parts that can be left out come unless they are."""
    at = market.last_update(coin, now)
    optional = {
        "localization": {"en": coin.name, "de": coin.name, "ja": coin.name},
        "market_data": _market_data(market, coin, at),
        "community_data": {"facebook_likes": None, "reddit_subscribers": 0},
        "developer_data": {"forks": 0, "stars": 0, "last_4_weeks_commit_activity_series": []},
        "tickers": [],
    }
    kept = {name: part for name, part in optional.items() if query.get(name) != "false"}
    return {
        "id": coin.id,
        "symbol": coin.symbol,
        "name": coin.name,
        "web_slug": coin.id,
        "asset_platform_id": None,
        "categories": [],
        "description": {"en": coin.description},
        "links": {
            "homepage": [coin.website, "", ""],
            "blockchain_site": ["", ""],
            "subreddit_url": None,
        },
        "image": {size: _image(coin, size) for size in ("thumb", "small", "large")},
        "genesis_date": None,
        "market_cap_rank": list(COINS).index(coin.id) + 1 if coin.ranked else None,
        "last_updated": datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        **kept,
    }


def _quote(
    market: Market,
    coin: SimulatedCoin,
    currency: str,
    at: int,
    wanted: set[str],
    precision: str | None,
) -> dict[str, float | None]:
    now = market.quotes(coin, currency, np.array([at * 1000], dtype=np.int64))
    quote: dict[str, float | None] = {currency: rounded(float(now.prices[0]), precision)}
    if "include_market_cap" in wanted:
        quote[f"{currency}_market_cap"] = float(now.market_caps[0])
    if "include_24hr_vol" in wanted:
        quote[f"{currency}_24h_vol"] = float(now.volumes[0]) if coin.ranked else None
    if "include_24hr_change" in wanted:
        quote[f"{currency}_24h_change"] = market.change_24h(coin, currency, at)
    return quote


def _market_data(market: Market, coin: SimulatedCoin, at: int) -> dict[str, Any]:
    times = np.array([at * 1000], dtype=np.int64)
    quotes = {currency: market.quotes(coin, currency, times) for currency in CURRENCIES}
    return {
        "current_price": {
            code: rounded(float(quote.prices[0]), None) for code, quote in quotes.items()
        },
        "market_cap": {code: round(float(quote.market_caps[0])) for code, quote in quotes.items()},
        "total_volume": {code: round(float(quote.volumes[0])) for code, quote in quotes.items()},
    }


def _names(text: str) -> list[str]:
    """A comma-separated list; what follows a space is lost, as it is at CoinGecko."""
    return [name for name in text.split(" ", 1)[0].split(",") if name]


def _image(coin: SimulatedCoin, size: str) -> str:
    # Coins without a picture have a file name there, no address.
    return f"{_IMAGES}/{coin.image}/{size}/{coin.id}.png" if coin.image else f"missing_{size}.png"

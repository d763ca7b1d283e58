"""The same requests for each server, and the decoding of its responses to one form.

Every GraphQL server gets variables, as a frontend sends them: so that each can keep its parsed,
validated or planned document, and a range is not a new document.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson

Point = tuple[datetime, float]
COINS_ASKED = 50


@dataclass(frozen=True, slots=True)
class Range:
    """Part of one series, [start, end)."""

    coin: str
    currency: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: POST with a body, or GET of a path with its query."""

    path: str
    body: bytes | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"

    @property
    def line(self) -> str:
        """The part that varies between requests, in one line."""
        return self.path if self.body is None else self.body.decode()


@dataclass(frozen=True, slots=True)
class Language:
    """How to query one kind of server, and how to read its decoded responses."""

    prices: Callable[[Range], Ask]
    currencies: Ask
    coins: Ask
    read_prices: Callable[[Any], list[Point]]
    read_currencies: Callable[[Any], list[str]]
    read_coins: Callable[[Any], list[tuple[object, ...]]]


def graphql(query: str, **variables: object) -> Ask:
    return Ask("/graphql", orjson.dumps({"query": query, "variables": variables}))


def _zulu(instant: datetime) -> str:
    return instant.isoformat().replace("+00:00", "Z")


def _variables(part: Range) -> dict[str, object]:
    return {
        "coin": part.coin,
        "currency": part.currency,
        "from": _zulu(part.start),
        "to": _zulu(part.end),
    }


def _points(rows: list[dict[str, Any]], time: str) -> list[Point]:
    return [(datetime.fromisoformat(row[time]), row["price"]) for row in rows]


def _coin(coin: dict[str, Any], latest: dict[str, Any] | None, *names: str) -> tuple[object, ...]:
    """Flatten a coin and its latest price; `names` are market cap, volume, change and time."""
    if latest is None:
        return (coin["name"], coin["symbol"])
    cap, volume, change, time = (latest[name] for name in names)
    return (
        coin["name"], coin["symbol"], latest["price"], cap, volume, change,
        datetime.fromisoformat(time),
    )  # fmt: skip


_CAMEL = ("marketCap", "volume", "change24h", "observedAt")

STRAWBERRY_PRICES = """
query Chart($coin: ID!, $currency: ID!, $from: DateTime!, $to: DateTime!) {
  prices(coin: $coin, currency: $currency, from: $from, to: $to) { points { timestamp price } }
}"""
_STRAWBERRY_COINS = """
query Coins($first: Int!, $currency: ID!) {
  coins(first: $first) { nodes {
    id symbol name latest(currency: $currency) { price marketCap volume change24h observedAt }
  } }
}"""

STRAWBERRY = Language(  # coingraph, and stock Strawberry with the same schema
    prices=lambda part: graphql(STRAWBERRY_PRICES, **_variables(part)),
    currencies=graphql("{ currencies { code } }"),
    coins=graphql(_STRAWBERRY_COINS, first=COINS_ASKED, currency="usd"),
    read_prices=lambda body: _points(body["data"]["prices"]["points"], "timestamp"),
    read_currencies=lambda body: [row["code"] for row in body["data"]["currencies"]],
    read_coins=lambda body: [
        _coin(coin, coin["latest"], *_CAMEL) for coin in body["data"]["coins"]["nodes"]
    ],
)

_POSTGRAPHILE_PRICES = """
query Chart($coin: String!, $currency: String!, $from: Datetime!, $to: Datetime!) {
  seriesByCoinIdAndCurrencyCode(coinId: $coin, currencyCode: $currency) {
    pointsList(since: $from, until: $to) { bucket price }
  }
}"""
_POSTGRAPHILE_COINS = """
query Coins($first: Int!, $currency: String!) {
  allCoinsList(first: $first, orderBy: [ROW_ID_ASC]) {
    rowId symbol name
    seriesByCoinIdList(condition: { currencyCode: $currency }) {
      priceLatestBySeriesId { price marketCap volume change24H observedAt }
    }
  }
}"""


def _postgraphile_latest(coin: dict[str, Any]) -> dict[str, Any] | None:
    series = coin["seriesByCoinIdList"]
    latest: dict[str, Any] | None = series[0]["priceLatestBySeriesId"] if series else None
    return latest


POSTGRAPHILE = Language(
    prices=lambda part: graphql(_POSTGRAPHILE_PRICES, **_variables(part)),
    currencies=graphql("{ allCurrenciesList(orderBy: [CODE_ASC]) { code } }"),
    coins=graphql(_POSTGRAPHILE_COINS, first=COINS_ASKED, currency="usd"),
    read_prices=lambda body: _points(
        body["data"]["seriesByCoinIdAndCurrencyCode"]["pointsList"], "bucket"
    ),
    read_currencies=lambda body: [row["code"] for row in body["data"]["allCurrenciesList"]],
    read_coins=lambda body: [
        _coin(coin, _postgraphile_latest(coin), "marketCap", "volume", "change24H", "observedAt")
        for coin in body["data"]["allCoinsList"]
    ],
)

REST = Language(
    prices=lambda part: Ask(f"/prices?{urlencode(_variables(part))}"),
    currencies=Ask("/currencies"),
    coins=Ask(f"/coins?first={COINS_ASKED}&currency=usd"),
    read_prices=lambda body: _points(body["points"], "timestamp"),
    read_currencies=lambda body: [row["code"] for row in body],
    read_coins=lambda body: [
        _coin(coin, coin["latest"], "market_cap", "volume", "change_24h", "observed_at")
        for coin in body
    ],
)


def _sent_to(path: str, ask: Ask) -> Ask:
    return Ask(path, ask.body)


BARE = Language(  # takes what coingraph takes, and returns what coingraph returned
    prices=lambda part: _sent_to("/prices", STRAWBERRY.prices(part)),
    currencies=_sent_to("/currencies", STRAWBERRY.currencies),
    coins=_sent_to("/coins", STRAWBERRY.coins),
    read_prices=STRAWBERRY.read_prices,
    read_currencies=STRAWBERRY.read_currencies,
    read_coins=STRAWBERRY.read_coins,
)

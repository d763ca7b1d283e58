"""Validates CoinGecko's JSON and converts it to the types of `ingestion.coingecko.types`.

Each function takes decoded JSON of any shape and returns a valid result or raises `BadAnswer`.
Text contains no characters that PostgreSQL rejects (NUL, lone surrogates) and is limited in length.
"""

import gc
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import orjson
from pydantic import BaseModel, BeforeValidator, StringConstraints, ValidationError

from ingestion.coingecko.charts import FIRST_MOMENT, LEAST_NUMBER, MOST_NUMBER
from ingestion.coingecko.errors import BadAnswer, error_in, plain
from ingestion.coingecko.text import first_url, plain_description
from ingestion.coingecko.types import CoinProfile, ListedCoin, Quote
from models.prices.write_latest import MOST_AHEAD

_MOST_DIGITS = 400  # of an integer; the largest float has 309
_MOST_SECONDS_SAID = 10**9  # 30 years; a longer span is written as "decades"


@dataclass(frozen=True, slots=True)
class Quotes:
    """The newest prices that upstream gave, in the order requested.

    `missing` lists each (coin, currency) without a price. `dropped` maps those of them that have an
    invalid entry to the reason. `extras` counts invalid market caps, volumes and changes of the
    quotes in `found`.
    """

    found: list[Quote]
    missing: list[tuple[str, str]]
    dropped: Mapping[tuple[str, str], str] = field(default_factory=dict)
    extras: int = 0


def decode(body: bytes) -> object:
    """Decode JSON. Raises ValueError if it is malformed, truncated, or an error body."""
    try:
        answer = _parse(body)
    except orjson.JSONDecodeError:
        # orjson rejects 1e400, which is valid JSON. A retry would not help, so decode it here;
        # the value is rejected later as an infinity.
        try:
            answer = json.loads(body, parse_int=_integer)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if error_in(answer):
        raise ValueError("an error body")
    return answer


def _integer(digits: str) -> float:
    """Convert a JSON integer. Python refuses to parse more than 4,300 digits."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


def _parse(body: bytes) -> object:
    """Parse with the garbage collector off.

    It would traverse the thousands of new lists repeatedly, which takes five times longer than
    parsing, and JSON contains no cycles.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        if collecting:
            gc.enable()


def prices(answer: object) -> dict[str, object]:
    """Return the body of /simple/price by coin id, for `quotes`."""
    if not isinstance(answer, dict):
        raise BadAnswer("CoinGecko's prices are no object", status=200)
    return answer


def quotes(
    by_coin: dict[str, object], coin_ids: Sequence[str], currencies: Sequence[str], now: float
) -> Quotes:
    """Parse the price of every coin in every currency; `now` is in seconds since 1970.

    A price is missing if upstream left it out, or gave it without a valid price or time.
    """
    found, missing = [], []
    dropped: dict[tuple[str, str], str] = {}
    extras = 0
    for coin_id in coin_ids:
        entry = by_coin.get(coin_id)
        for currency in currencies:
            quote = _quote(coin_id, currency, entry, now)
            if isinstance(quote, Quote):
                found.append(quote)
                extras += _malformed_extras(quote, entry)
                continue
            missing.append((coin_id, currency))
            if quote is not None:
                dropped[coin_id, currency] = quote
    return Quotes(found, missing, dropped, extras)


def _quote(coin_id: str, currency: str, entry: object, now: float) -> Quote | str | None:
    """Return a coin's price in a currency, the reason why it is invalid, or None without one."""
    if not isinstance(entry, dict):
        return None if entry is None else "no object"
    if entry.get(currency) is None:
        return None
    price = _quantity(entry[currency])
    if price is None:
        return "no price"
    observed = _number(entry.get("last_updated_at"))
    if observed is None or observed < FIRST_MOMENT:
        return "no time"
    if observed > now + MOST_AHEAD.total_seconds():
        return f"a time {_span(observed - now)} ahead"
    cap, volume, change = (entry.get(f"{currency}{name}") for name in _EXTRAS)
    return Quote(
        coin_id=coin_id,
        currency_code=currency,
        price=price,
        market_cap=_quantity(cap),
        volume=_quantity(volume),
        change_24h=_number(change),
        observed_at=datetime.fromtimestamp(observed, UTC),
    )


_EXTRAS = ("_market_cap", "_24h_vol", "_24h_change")


def _malformed_extras(quote: Quote, entry: Any) -> int:  # noqa: ANN401 - an object of JSON
    """Count the values that upstream gave and that are not in `quote` because they are invalid."""
    kept = (quote.market_cap, quote.volume, quote.change_24h)
    given = [entry.get(f"{quote.currency_code}{name}") for name in _EXTRAS]
    return sum(
        theirs is not None and ours is None for theirs, ours in zip(given, kept, strict=True)
    )


def _span(seconds: float) -> str:
    """Format a duration as `20:00:00`, or as `decades` if it is very long."""
    return str(timedelta(seconds=round(seconds))) if seconds < _MOST_SECONDS_SAID else "decades"


def _quantity(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and (number == 0 or number >= LEAST_NUMBER) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # compared before conversion, because a large int overflows a float
    return float(value) if abs(value) <= MOST_NUMBER else None


def _one_line(value: object) -> object:
    return plain(value, 200) if isinstance(value, str) else value


def _object(value: object) -> object:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """Return `value` on one line; None if it has no printable character."""
    return plain(value, 200) or None if isinstance(value, str) else None


_Line = Annotated[str, BeforeValidator(_one_line)]
_Label = Annotated[_Line, StringConstraints(min_length=1)]
_OptionalLabel = Annotated[str | None, BeforeValidator(_text)]
_Optional = Annotated[dict[str, Any], BeforeValidator(_object)]


class _Coin(BaseModel):
    """A coin's profile. A field of the wrong shape counts as missing."""

    id: _OptionalLabel = None
    symbol: _OptionalLabel = None
    name: _OptionalLabel = None
    description: _Optional = {}
    image: _Optional = {}
    links: _Optional = {}


class _Listed(BaseModel):
    id: _Label
    symbol: _OptionalLabel = None
    name: _OptionalLabel = None


def profile(answer: object, coin_id: str) -> CoinProfile:
    """Parse a coin's profile. Raises BadAnswer if it is not an object or is for another coin."""
    if not isinstance(answer, dict) or not answer:
        raise BadAnswer("CoinGecko's coin is no object", status=200)
    coin = _Coin.model_validate(answer)
    if coin.id not in {coin_id, None}:
        raise BadAnswer(f"CoinGecko answered about a coin other than {coin_id!r}", status=200)
    homepages = coin.links.get("homepage")
    return CoinProfile(
        id=coin_id,
        symbol=coin.symbol,
        name=coin.name,
        description=plain_description(coin.description.get("en")),
        image_url=first_url([coin.image.get("large")]),
        website_url=first_url(homepages if isinstance(homepages, list) else [homepages]),
    )


def listing(answer: object) -> list[ListedCoin]:
    """Parse the list of all coins. Skips invalid entries; raises BadAnswer if all are invalid."""
    if not isinstance(answer, list):
        raise BadAnswer("CoinGecko's list of coins is no list", status=200)
    coins = []
    for entry in answer:
        with suppress(ValidationError):
            coin = _Listed.model_validate(entry)
            coins.append(ListedCoin(coin.id, coin.symbol or "", coin.name or ""))
    if answer and not coins:
        raise BadAnswer("CoinGecko's list of coins holds no coin", status=200)
    return coins


def greeting(answer: object) -> str:
    """Parse the text of /ping."""
    match answer:
        case {"gecko_says": str(text)}:
            return plain(text)
    raise BadAnswer("CoinGecko's ping says nothing", status=200)

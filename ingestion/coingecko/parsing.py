"""CoinGecko's JSON, checked and turned into our own words.

Each function takes a decoded JSON body that can be anything, and returns a valid result or
raises `BadAnswer`. Text is free of what PostgreSQL refuses (NUL, lone surrogates) and bounded.
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

_MOST_DIGITS = 400  # of an integer: a float has no more than 309 before its point
_MOST_SECONDS_SAID = 10**9  # 30 years


@dataclass(frozen=True, slots=True)
class Quotes:
    """`found` in the order asked for; `missing` are the (coin, currency) without a price.

    `dropped` says of those among the missing that have an entry what is wrong with it. `extras`
    counts market caps, volumes and changes of those found that make no sense.
    """

    found: list[Quote]
    missing: list[tuple[str, str]]
    dropped: Mapping[tuple[str, str], str] = field(default_factory=dict)
    extras: int = 0


def decode(body: bytes) -> object:
    """The JSON in `body`. Raises ValueError where it is none, cut off, or says what went wrong."""
    try:
        answer = _parse(body)
    except orjson.JSONDecodeError:
        # orjson takes 1e400 for broken JSON. It is whole, so asking again would not help:
        # let it through, to be refused as an infinity.
        try:
            answer = json.loads(body, parse_int=_integer)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if error_in(answer):
        raise ValueError("an error body")
    return answer


def _integer(digits: str) -> float:
    """An integer of JSON. Python refuses to parse those of more than 4,300 digits."""
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


def _parse(body: bytes) -> object:
    """Parse without the garbage collector: it would walk thousands of pairs again and again, which
    takes five times longer than to parse them, and JSON has no cycles for it to find.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        if collecting:
            gc.enable()


def prices(answer: object) -> dict[str, object]:
    """What /simple/price gives by coin: one of several such parts for `quotes`."""
    if not isinstance(answer, dict):
        raise BadAnswer("CoinGecko's prices are no object", status=200)
    return answer


def quotes(
    by_coin: dict[str, object], coin_ids: Sequence[str], currencies: Sequence[str], now: float
) -> Quotes:
    """The price of every coin in every currency, or its name among the missing.

    Missing is what upstream left out, or gave without a price or without its time.
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
    """A coin's price in a currency; what is wrong with it; or None where there is none."""
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
    """Count the extras that upstream gave and `quote` has not."""
    kept = (quote.market_cap, quote.volume, quote.change_24h)
    given = [entry.get(f"{quote.currency_code}{name}") for name in _EXTRAS]
    return sum(
        theirs is not None and ours is None for theirs, ours in zip(given, kept, strict=True)
    )


def _span(seconds: float) -> str:
    """Say how long that is, as `20:00:00`, or that it is beyond all measure."""
    return str(timedelta(seconds=round(seconds))) if seconds < _MOST_SECONDS_SAID else "decades"


def _quantity(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and (number == 0 or number >= LEAST_NUMBER) else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # compared before it is made a float, which an int can be too large for
    return float(value) if abs(value) <= MOST_NUMBER else None


def _one_line(value: object) -> object:
    return plain(value, 200) if isinstance(value, str) else value


def _object(value: object) -> object:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    """`value` on one line, None where it holds nothing that can be shown."""
    return plain(value, 200) or None if isinstance(value, str) else None


_Line = Annotated[str, BeforeValidator(_one_line)]
_Label = Annotated[_Line, StringConstraints(min_length=1)]
_OptionalLabel = Annotated[str | None, BeforeValidator(_text)]
_Optional = Annotated[dict[str, Any], BeforeValidator(_object)]


class _Coin(BaseModel):
    """All parts may come in any shape, and only then are missing."""

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
    """What is known of a coin. Raises BadAnswer for no object, and for one about another coin."""
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
    """All coins. Entries that are no coin are left out, unless that leaves none."""
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
    """What /ping says."""
    match answer:
        case {"gecko_says": str(text)}:
            return plain(text)
    raise BadAnswer("CoinGecko's ping says nothing", status=200)

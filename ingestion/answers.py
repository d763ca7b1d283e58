"""CoinGecko's JSON, checked and turned into our own words.

Each function takes a decoded JSON body that can be anything, and returns a valid result or
raises `BadAnswer`. Text is free of what PostgreSQL refuses (NUL, lone surrogates) and bounded.
"""

import gc
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import BaseModel, BeforeValidator, StringConstraints, ValidationError

from ingestion.errors import BadAnswer, error_in, plain
from ingestion.samples import Chart, CoinProfile, ListedCoin, Quote, Samples
from ingestion.texts import first_url, plain_description

FIRST_MOMENT = datetime(2009, 1, 1, tzinfo=UTC).timestamp()  # no coin is older than Bitcoin
_LATEST = 86_400.0  # seconds: how far upstream's clock may be ahead of ours
# Beyond these, PostgreSQL's mean of a day would overflow, and a change in percent too.
LEAST_NUMBER, MOST_NUMBER = 1e-100, 1e100


@dataclass(frozen=True, slots=True)
class Quotes:
    """`found` in the order asked for; `missing` are the (coin, currency) without a price."""

    found: list[Quote]
    missing: list[tuple[str, str]]


def decode(body: bytes) -> object:
    """The JSON in `body`. Raises ValueError where it is none, cut off, or says what went wrong."""
    try:
        answer = _parse(body)
    except orjson.JSONDecodeError:
        # orjson takes 1e400 for broken JSON. It is whole, so asking again would not help:
        # let it through, to be refused as an infinity.
        try:
            answer = json.loads(body)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    if error_in(answer):
        raise ValueError("an error body")
    return answer


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


def chart(answer: object, now: float) -> Chart:
    """The three arrays of a market chart; `now` is in seconds since 1970.

    A point from before 2009 or more than a day ahead of `now` is dropped. Where that would
    leave nothing of a non-empty array, the unit must have changed, and the answer is refused.
    A value below 0, or so small that it can be no price, is as good as none.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("prices"), list):
        raise BadAnswer("CoinGecko's chart has no list `prices`", status=200)
    return Chart(
        prices=_samples("prices", answer["prices"], now),
        market_caps=_samples("market_caps", answer.get("market_caps"), now),
        volumes=_samples("total_volumes", answer.get("total_volumes"), now),
    )


def _samples(name: str, points: object, now: float) -> Samples:
    if points is None or points == []:
        return Samples(np.empty(0, np.int64), np.empty(0, np.float64))
    # Each check is one quick pass: 2,160 points take a fraction of a millisecond.
    if not (isinstance(points, list) and _types(points) == {list} and set(map(len, points)) == {2}):
        raise BadAnswer(f"CoinGecko's `{name}` is no list of pairs", status=200)
    times, values = [time for time, _ in points], [value for _, value in points]
    # The exact types: bool is an int to isinstance, and numpy would read "1" as a number.
    if not _types(times) <= {int, float}:
        raise BadAnswer(f"a time in CoinGecko's `{name}` is no number", status=200)
    if not _types(values) <= {int, float, type(None)}:
        raise BadAnswer(f"a value in CoinGecko's `{name}` is no number", status=200)
    try:
        when, what = (np.fromiter(each, np.float64, len(points)) for each in (times, values))
    except OverflowError:
        raise BadAnswer(f"a number in CoinGecko's `{name}` is too large", status=200) from None
    if (np.abs(what) > MOST_NUMBER).any():
        raise BadAnswer(f"a value in CoinGecko's `{name}` is too large", status=200)
    what[(what < LEAST_NUMBER) & (what != 0)] = np.nan
    plausible = (when >= FIRST_MOMENT * 1000) & (when <= (now + _LATEST) * 1000)
    if not plausible.any():
        raise BadAnswer(f"no time in CoinGecko's `{name}` is plausible", status=200)
    return Samples(when[plausible].astype(np.int64), what[plausible])


def _types(values: Iterable[object]) -> set[type]:
    return set(map(type, values))


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
    for coin_id in coin_ids:
        entry = by_coin.get(coin_id)
        for currency in currencies:
            quote = _quote(coin_id, currency, entry, now) if isinstance(entry, dict) else None
            if quote is None:
                missing.append((coin_id, currency))
            else:
                found.append(quote)
    return Quotes(found, missing)


def _quote(coin_id: str, currency: str, entry: dict[str, Any], now: float) -> Quote | None:
    price = _quantity(entry.get(currency))
    observed = _number(entry.get("last_updated_at"))
    if price is None or observed is None or not FIRST_MOMENT <= observed <= now + _LATEST:
        return None
    return Quote(
        coin_id=coin_id,
        currency_code=currency,
        price=price,
        market_cap=_quantity(entry.get(f"{currency}_market_cap")),
        volume=_quantity(entry.get(f"{currency}_24h_vol")),
        change_24h=_number(entry.get(f"{currency}_24h_change")),
        observed_at=datetime.fromtimestamp(observed, UTC),
    )


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


_Line = Annotated[str, BeforeValidator(_one_line)]
_Label = Annotated[_Line, StringConstraints(min_length=1)]
_Optional = Annotated[dict[str, Any], BeforeValidator(_object)]


class _Coin(BaseModel):
    """Only the names are required: the rest is decoration, and may come in any shape."""

    id: _Label
    symbol: _Label
    name: _Label
    description: _Optional = {}
    image: _Optional = {}
    links: _Optional = {}


class _Listed(BaseModel):
    id: _Label
    symbol: _Line
    name: _Line


def profile(answer: object, coin_id: str) -> CoinProfile:
    """What is known of a coin. Raises BadAnswer where the answer is about another one."""
    try:
        coin = _Coin.model_validate(answer)
    except ValidationError as error:
        raise BadAnswer(f"CoinGecko's coin is invalid: {_fields(error)}", status=200) from None
    if coin.id != coin_id:
        raise BadAnswer(f"CoinGecko answered about a coin other than {coin_id!r}", status=200)
    homepages = coin.links.get("homepage")
    return CoinProfile(
        id=coin.id,
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
            coins.append(ListedCoin(coin.id, coin.symbol, coin.name))
    if answer and not coins:
        raise BadAnswer("CoinGecko's list of coins holds no coin", status=200)
    return coins


def greeting(answer: object) -> str:
    """What /ping says."""
    match answer:
        case {"gecko_says": str(text)}:
            return plain(text)
    raise BadAnswer("CoinGecko's ping says nothing", status=200)


def _fields(error: ValidationError) -> str:
    """The names of the invalid fields, without the values."""
    return ", ".join(sorted({".".join(map(str, e["loc"])) or "no object" for e in error.errors()}))

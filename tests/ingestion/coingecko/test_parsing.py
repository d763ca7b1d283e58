"""What upstream may say of prices and coins, and what becomes of it."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.coingecko import parsing
from ingestion.coingecko.errors import BadAnswer
from ingestion.coingecko.text import plain_description
from ingestion.coingecko.types import ListedCoin
from tests.ingestion.json_values import NOW, json_values


def test_quotes_come_in_the_order_requested_and_the_missing_are_named() -> None:
    entry = {
        "usd": 1.5,
        "usd_market_cap": 0.0,
        "usd_24h_vol": None,
        "usd_24h_change": -3.25,
        "eur": None,
        "last_updated_at": int(NOW) - 60,
    }
    result = parsing.quotes(
        {"b": entry, "a": entry | {"eur": 2}}, ["a", "b", "c"], ["eur", "usd"], NOW
    )
    assert [(q.coin_id, q.currency_code, q.price) for q in result.found] == [
        ("a", "eur", 2.0),
        ("a", "usd", 1.5),
        ("b", "usd", 1.5),
    ]
    assert result.missing == [("b", "eur"), ("c", "eur"), ("c", "usd")]
    quote = result.found[-1]
    assert (quote.market_cap, quote.volume, quote.change_24h) == (0.0, None, -3.25)
    assert quote.observed_at == datetime.fromtimestamp(NOW - 60, UTC)


@pytest.mark.parametrize(
    "entry",
    [
        [],
        None,
        {"usd": 1.0},
        {"usd": 1.0, "last_updated_at": None},
        {"usd": 1.0, "last_updated_at": NOW * 1000},
        {"usd": 1.0, "last_updated_at": 5},
        {"usd": "1.0", "last_updated_at": NOW},
        {"usd": True, "last_updated_at": NOW},
        {"usd": -1.0, "last_updated_at": NOW},
        {"usd": 1e-101, "last_updated_at": NOW},
        {"usd": 1e101, "last_updated_at": NOW},
        {"usd": math.inf, "last_updated_at": NOW},
        {"usd": 10**400, "last_updated_at": NOW},
        {"usd": 1.0, "last_updated_at": 10**400},
    ],
)
def test_a_quote_without_a_usable_price_and_time_is_missing(entry: object) -> None:
    assert parsing.quotes({"a": entry}, ["a"], ["usd"], NOW).missing == [("a", "usd")]


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"usd": 1.0, "last_updated_at": NOW + 72_000}, "a time 20:00:00 ahead"),
        ({"usd": 1.0, "last_updated_at": NOW + 301}, "a time 0:05:01 ahead"),
        ({"usd": 1.0, "last_updated_at": NOW * 1000}, "a time decades ahead"),
        ({"usd": 1.0, "last_updated_at": 0}, "no time"),
        ({"usd": 1.0, "last_updated_at": 10**400}, "no time"),
        ({"usd": 1.0}, "no time"),
        ({"usd": "1.0", "last_updated_at": NOW}, "no price"),
        ([1.0], "no object"),
        ({"usd": None, "last_updated_at": NOW}, None),
        ({}, None),
        (None, None),
    ],
)
def test_what_is_wrong_with_a_quote_is_said(entry: object, why: str | None) -> None:
    good = {"usd": 2.0, "last_updated_at": NOW + 299}
    result = parsing.quotes({"a": entry, "b": good}, ["a", "b"], ["usd"], NOW)
    assert result.dropped == ({("a", "usd"): why} if why else {})
    assert [quote.price for quote in result.found] == [2.0]


@pytest.mark.parametrize("bad", ["5", True, [], {}, [None], -1.0, 1e101, 10**400, math.inf])
def test_a_malformed_extra_of_a_quote_is_counted(bad: object) -> None:
    entry = {"usd": 1.0, "last_updated_at": NOW, "usd_market_cap": bad, "usd_24h_vol": 3.0}
    result = parsing.quotes({"a": entry}, ["a"], ["usd"], NOW)
    assert [(each.market_cap, each.volume) for each in result.found] == [(None, 3.0)]
    assert result.extras == 1


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["a", "b"]), json_values))
def test_any_prices_give_every_pair_once(by_coin: dict[str, object]) -> None:
    result = parsing.quotes(by_coin, ["a", "b"], ["usd"], NOW)
    assert len(result.found) + len(result.missing) == 2


@pytest.mark.slow
@given(
    json_values,
    st.dictionaries(
        st.sampled_from(["eur", "usd_market_cap", "usd_24h_vol", "usd_24h_change", "gbp"]),
        json_values,
    ),
)
def test_any_json_costs_no_sound_quote(other: object, others: dict[str, object]) -> None:
    by_coin = {"a": {**others, "usd": 1.5, "last_updated_at": NOW}, "b": other}
    result = parsing.quotes(by_coin, ["a", "b"], ["eur", "usd", "gbp"], NOW)
    assert [q.price for q in result.found if (q.coin_id, q.currency_code) == ("a", "usd")] == [1.5]


COIN: dict[str, Any] = {
    "id": "x",
    "symbol": "X",
    "name": " Ex\x00 Coin ",
    "description": {"en": "<p>One &amp; <b>two</b></p>\r\n<p>three<br/>four</p>"},
    "image": {"thumb": "https://i/t.png", "large": "https://i.example/l.png?1"},
    "links": {"homepage": ["", None, "javascript:alert(1)", "https://x.example/", "http://y"]},
}


def test_a_profile_is_plain_text_and_usable_addresses() -> None:
    profile = parsing.profile(COIN, "x")
    assert profile.name == "Ex Coin"
    assert profile.description == "One & two\n\nthree\nfour"
    assert profile.image_url == "https://i.example/l.png?1"
    assert profile.website_url == "https://x.example/"


@pytest.mark.parametrize("junk", [None, [], "x", 5, {}, {"en": 5}, {"large": "ftp://x"}])
def test_a_profile_without_decoration_is_a_profile(junk: object) -> None:
    profile = parsing.profile(COIN | {"description": junk, "image": junk, "links": junk}, "x")
    assert (profile.description, profile.image_url, profile.website_url) == (None, None, None)


@pytest.mark.parametrize("answer", [None, [], {}, 5, "x", [COIN], {**COIN, "id": "y"}])
def test_what_is_not_that_coin_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer):
        parsing.profile(answer, "x")


@pytest.mark.parametrize("bad", [None, "", " \x00 ", 5, True, [], {}, ["X"], "\ud800"])
@pytest.mark.parametrize("name", ["symbol", "name"])
def test_a_profile_without_a_name_keeps_the_rest(name: str, bad: object) -> None:
    profile = parsing.profile({**COIN, name: bad}, "x")
    assert getattr(profile, name) is None
    assert profile.website_url == "https://x.example/"
    assert (profile.symbol, profile.name).count(None) == 1


@pytest.mark.parametrize("bad", [None, "", 5, [], {"x": "x"}])
def test_a_profile_without_an_id_is_of_the_coin_that_was_requested(bad: object) -> None:
    assert parsing.profile({**COIN, "id": bad}, "x") == parsing.profile(COIN, "x")


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from([each for each in COIN if each != "id"]), json_values))
def test_any_json_in_a_profile_costs_no_other_part(parts: dict[str, object]) -> None:
    whole, found = parsing.profile(COIN, "x"), parsing.profile({**COIN, **parts}, "x")
    for part, name in (
        ("symbol", "symbol"), ("name", "name"), ("description", "description"),
        ("image", "image_url"), ("links", "website_url"),
    ):  # fmt: skip
        assert part in parts or getattr(found, name) == getattr(whole, name)


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "//x.example",
        "x.example",
        "http://",
        "https://a b",
        "https://[::1",
        "https://x/\x00",
        "https://x/\ud800",
        "https://x/" + "a" * 2000,
    ],
)
def test_an_unusable_address_is_none(url: str) -> None:
    assert parsing.profile(COIN | {"links": {"homepage": [url]}}, "x").website_url is None


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("", None),
        ("  <p> </p> ", None),
        ("a\x00b\x07c\ud800", "abc"),
        ("a<script>alert(1)</script>b", "ab"),
        ("1 &lt; 2 &amp;amp; &#0; &nbsp; x", "1 < 2 &amp; \ufffd x"),
        ("a\r\n\r\n\r\n\r\nb \t c\u2028d", "a\n\nb c\nd"),
        ("<b" * 50_000, None),
        ("a" * 30_000, "a" * 20_000),
    ],
)
def test_descriptions_become_plain_text(markup: str, text: str | None) -> None:
    assert plain_description(markup) == text


@given(st.text())
def test_any_description_can_be_stored(markup: str) -> None:
    text = plain_description(markup)
    assert text is None or ("\x00" not in text and text.encode() and text == text.strip())


def test_a_listing_leaves_out_what_is_no_coin() -> None:
    entries = [
        {"id": "a", "symbol": "s", "name": "A"},
        {"id": "", "symbol": "s", "name": "A"},
        {"id": 5, "symbol": "s", "name": "A"},
        None,
        {"id": "b", "symbol": "", "name": "B\x00", "platforms": {}},
        {"id": "-2", "symbol": None, "name": ["C"]},
        {"id": "boringdao-[old]"},
    ]
    assert parsing.listing(entries) == [
        ListedCoin("a", "s", "A"),
        ListedCoin("b", "", "B"),
        ListedCoin("-2", "", ""),
        ListedCoin("boringdao-[old]", "", ""),
    ]
    assert parsing.listing([]) == []


@pytest.mark.parametrize("answer", [{}, None, "a", [None], ["a"]])
def test_what_lists_no_coins_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer):
        parsing.listing(answer)

"""What upstream may answer, and what becomes of it."""

import json
import math
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion import answers, errors
from ingestion.errors import (
    AccessRefused,
    BadAnswer,
    BadRequest,
    HistoryTooLong,
    NotFound,
    RateLimited,
    ServerFault,
    Unreachable,
    UpstreamError,
)
from ingestion.samples import Chart, ListedCoin, Samples

NOW = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
MS = int(NOW * 1000)
RECORDED = Path(__file__).parents[3] / "shared" / "coingecko" / "recorded"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
numbers = st.none() | st.integers() | st.floats()
points = st.lists(st.lists(numbers | st.integers(MS - 10**9, MS), min_size=2, max_size=2))


def chart(answer: object) -> Chart:
    return answers.chart(answer, NOW)


# Charts


def test_a_chart_keeps_order_nulls_and_unequal_lengths() -> None:
    result = chart(
        {
            "prices": [[MS - 2000, 1.5], [MS - 3000, None], [MS - 1000, 2]],
            "market_caps": [[MS - 2000, 0.0], [MS - 1000, -1.0]],
            "total_volumes": None,
        }
    )
    assert result.prices.times.tolist() == [MS - 2000, MS - 3000, MS - 1000]
    np.testing.assert_array_equal(result.prices.values, [1.5, np.nan, 2.0])
    np.testing.assert_array_equal(result.market_caps.values, [0.0, np.nan])
    assert result.volumes.times.size == result.volumes.values.size == 0
    assert result.prices.times.dtype == np.int64
    assert result.prices.values.dtype == np.float64


def test_missing_and_empty_arrays_are_empty() -> None:
    result = chart({"prices": []})
    assert [len(part.times) for part in (result.prices, result.market_caps, result.volumes)] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "prices",
        3,
        {},
        {"prices": None},
        {"prices": {}},
        {"prices": [1, 2]},
        {"prices": [[MS]]},
        {"prices": [[MS, 1, 2]]},
        {"prices": [[MS, 1], [MS]]},
        {"prices": [{"0": MS, "1": 2}]},
        {"prices": ["ab"]},
        {"prices": [[MS, "1.5"]]},
        {"prices": [[str(MS), 1.5]]},
        {"prices": [[MS, True]]},
        {"prices": [[True, 1.0]]},
        {"prices": [[None, 1.0]]},
        {"prices": [[MS, [1.0]]]},
        {"prices": [[MS, math.inf]]},
        {"prices": [[MS, -math.inf]]},
        {"prices": [[MS, 10**400]]},
        {"prices": [[10**400, 1.0]]},
        {"prices": [[MS // 1000, 1.0], [MS // 1000 + 1, 1.0]]},
        {"prices": [[MS, 1.0]], "market_caps": 5},
        {"prices": [[MS, 1.0]], "total_volumes": [[MS, "x"]]},
    ],
)
def test_what_is_no_chart_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer) as caught:
        chart(answer)
    assert len(str(caught.value)) < 100


def test_stray_times_are_dropped() -> None:
    day = 86_400_000
    times = [0, -5, 2**53 + 1, 2**63, 1e300, MS - 1, MS + day, MS + day + 1, 1230768000000 - 1]
    result = chart({"prices": [[time, place] for place, time in enumerate(times)]})
    assert result.prices.times.tolist() == [MS - 1, MS + day]
    assert result.prices.values.tolist() == [5, 6]


def test_numbers_too_large_for_json_are_refused_not_retried() -> None:
    with pytest.raises(BadAnswer):
        chart(answers.decode(b'{"prices": [[%d, 1e400]]}' % MS))
    with pytest.raises(BadAnswer):
        chart(answers.decode(b'{"prices": [[%d, %s]]}' % (MS, b"9" * 1000)))


def test_nan_is_as_good_as_null() -> None:
    result = chart(answers.decode(b'{"prices": [[%d, NaN], [NaN, 1]]}' % MS))
    assert result.prices.times.tolist() == [MS]
    assert np.isnan(result.prices.values).all()


def _is_sound(samples: Samples) -> bool:
    return (
        samples.times.dtype == np.int64
        and samples.values.dtype == np.float64
        and samples.times.shape == samples.values.shape
        and not np.isinf(samples.values).any()
        and not (samples.values < 0).any()
        and bool(((samples.times > 1.2e12) & (samples.times <= MS + 86_400_000)).all())
    )


@given(
    json_values
    | st.fixed_dictionaries(
        {"prices": points},
        optional={"market_caps": points | json_values, "total_volumes": points | json_values},
    )
)
@example({"prices": [[MS, 2**1023 * 3]]})
def test_any_json_gives_a_sound_chart_or_bad_answer(answer: object) -> None:
    try:
        result = chart(answer)
    except BadAnswer:
        return
    assert all(map(_is_sound, (result.prices, result.market_caps, result.volumes)))


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'"\\ud800"')
@example(b"9" * 10_000)
def test_any_bytes_are_json_or_a_value_error(body: bytes) -> None:
    try:
        answer = answers.decode(body)
    except ValueError:
        return
    for read in (
        chart,
        answers.prices,
        answers.listing,
        answers.greeting,
        lambda value: answers.profile(value, "x"),
    ):
        try:
            read(answer)
        except BadAnswer as error:
            str(error).encode()


def test_a_season_of_hours_is_parsed_in_milliseconds() -> None:
    series = [
        [MS - hour * 3_600_000 + 271_337, 1234.5678 + hour / 7] for hour in range(2160, 0, -1)
    ]
    body = orjson.dumps({"prices": series, "market_caps": series, "total_volumes": series})
    best = math.inf
    for _ in range(20):
        start = time.perf_counter()
        chart(answers.decode(body))
        best = min(best, time.perf_counter() - start)
    assert best < 0.006  # 2 ms on an idle machine


# Quotes


def test_quotes_come_in_the_order_asked_for_and_the_missing_are_named() -> None:
    entry = {
        "usd": 1.5,
        "usd_market_cap": 0.0,
        "usd_24h_vol": None,
        "usd_24h_change": -3.25,
        "eur": None,
        "last_updated_at": int(NOW) - 60,
    }
    result = answers.quotes(
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
        {"usd": math.inf, "last_updated_at": NOW},
        {"usd": 10**400, "last_updated_at": NOW},
        {"usd": 1.0, "last_updated_at": 10**400},
    ],
)
def test_a_quote_without_a_usable_price_and_time_is_missing(entry: object) -> None:
    assert answers.quotes({"a": entry}, ["a"], ["usd"], NOW).missing == [("a", "usd")]


@given(st.dictionaries(st.sampled_from(["a", "b"]), json_values))
def test_any_prices_give_every_pair_once(by_coin: dict[str, object]) -> None:
    result = answers.quotes(by_coin, ["a", "b"], ["usd"], NOW)
    assert len(result.found) + len(result.missing) == 2


# Coins

COIN: dict[str, Any] = {
    "id": "x",
    "symbol": "X",
    "name": " Ex\x00 Coin ",
    "description": {"en": "<p>One &amp; <b>two</b></p>\r\n<p>three<br/>four</p>"},
    "image": {"thumb": "https://i/t.png", "large": "https://i.example/l.png?1"},
    "links": {"homepage": ["", None, "javascript:alert(1)", "https://x.example/", "http://y"]},
}


def test_a_profile_is_plain_text_and_usable_addresses() -> None:
    profile = answers.profile(COIN, "x")
    assert profile.name == "Ex Coin"
    assert profile.description == "One & two\n\nthree\nfour"
    assert profile.image_url == "https://i.example/l.png?1"
    assert profile.website_url == "https://x.example/"


@pytest.mark.parametrize("junk", [None, [], "x", 5, {}, {"en": 5}, {"large": "ftp://x"}])
def test_a_profile_without_decoration_is_a_profile(junk: object) -> None:
    profile = answers.profile(COIN | {"description": junk, "image": junk, "links": junk}, "x")
    assert (profile.description, profile.image_url, profile.website_url) == (None, None, None)


@pytest.mark.parametrize(
    "answer", [None, [], {}, {**COIN, "name": None}, {**COIN, "symbol": 5}, {**COIN, "id": "y"}]
)
def test_what_is_not_that_coin_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer):
        answers.profile(answer, "x")


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
    assert answers.profile(COIN | {"links": {"homepage": [url]}}, "x").website_url is None


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
    assert answers.plain_description(markup) == text


@given(st.text())
def test_any_description_can_be_stored(markup: str) -> None:
    text = answers.plain_description(markup)
    assert text is None or ("\x00" not in text and text.encode() and text == text.strip())


def test_a_listing_leaves_out_what_is_no_coin() -> None:
    entries = [
        {"id": "a", "symbol": "s", "name": "A"},
        {"id": "", "symbol": "s", "name": "A"},
        {"id": 5, "symbol": "s", "name": "A"},
        None,
        {"id": "b", "symbol": "", "name": "B\x00", "platforms": {}},
    ]
    assert answers.listing(entries) == [ListedCoin("a", "s", "A"), ListedCoin("b", "", "B")]
    assert answers.listing([]) == []


@pytest.mark.parametrize("answer", [{}, None, "a", [None], ["a"]])
def test_what_lists_no_coins_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer):
        answers.listing(answer)


# Errors

NO_COIN = "Could not find coin with the given id"


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (404, {"error": NO_COIN}, NotFound, NO_COIN),
        (429, {"status": {"error_code": 429, "error_message": "slow"}}, RateLimited, "slow"),
        (401, {"error": {"status": {"error_code": 10012, "error_message": "365"}}},
         HistoryTooLong, "365"),
        (500, {"status": 500, "error": "Internal Server Error"}, ServerFault, "Internal"),
        (403, b"<html><title>Bad\nGate</title></html>", ServerFault, "Bad Gate"),
        (200, b"Throttled, please wait", RateLimited, "please wait"),
        (503, b"  throttled", RateLimited, "throttled"),
        (200, {"status": {"error_code": 429, "error_message": "slow"}}, RateLimited, "slow"),
        (200, {"status": 500, "error": "oops"}, ServerFault, "oops"),
        (200, {"error": "coin not found"}, BadAnswer, "coin not found"),
        (200, b"<html>", ServerFault, "HTML"),
        (200, b'{"prices": [[1', ServerFault, "prices"),
        (200, b"", ServerFault, "no JSON"),
        (400, {"error": {"code": 1, "message": "bad days"}}, BadRequest, "bad days"),
        (422, {"error": "Missing parameter ids"}, BadRequest, "Missing parameter ids"),
        (404, {"error": "Incorrect path. Please check"}, BadRequest, "COINGECKO_BASE_URL"),
        (404, b"<html><h1>404</h1></html>", BadRequest, "COINGECKO_BASE_URL"),
        (404, b"", NotFound, "404"),
        (301, b"", ServerFault, "COINGECKO_BASE_URL"),
        (204, b"", ServerFault, "204"),
        (408, b"", ServerFault, "408"),
        (520, b"error code: 520", ServerFault, "520"),
        (403, {"error_code": 1020}, ServerFault, "403"),
        (403, {"status": {"error_code": 10999, "error_message": "x"}}, AccessRefused, "API_KEY"),
        (401, {"error": "who are you"}, AccessRefused, "COINGECKO_API_KEY"),
        (400, {"error_code": True}, BadRequest, "400"),
        (400, [1], BadRequest, "400"),
    ],
)  # fmt: skip
def test_every_shape_of_error(
    status: int, body: object, kind: type[UpstreamError], said: str
) -> None:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    error = errors.error_from_answer(status, raw, retry_after=7.0)
    assert type(error) is kind
    assert said in str(error)
    assert "\n" not in str(error)
    if isinstance(error, RateLimited):
        assert error.retry_after == 7.0


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize(
    ("code", "setting"),
    [
        (10002, "COINGECKO_API_KEY"),
        (10005, "COINGECKO_PLAN"),
        (10010, "COINGECKO_PLAN=pro"),
        (10011, "COINGECKO_PLAN=demo"),
    ],
)
def test_refused_access_names_the_setting(status: int, code: int, setting: str) -> None:
    body = {"status": {"error_code": code, "error_message": "Invalid"}}
    error = errors.error_from_answer(status, orjson.dumps(body))
    assert isinstance(error, AccessRefused)
    assert setting in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("401_10012_365days_waxtax_2024", HistoryTooLong),
        ("404_coin_pycoingecko67_2022", NotFound),
        ("422_missing_vs_currency", BadRequest),
        ("422_simple_price_missing_ids", BadRequest),
        ("429_issue_nimblehq_2022", RateLimited),
        ("500_ohlc_missing_params", ServerFault),
    ],
)
def test_recorded_errors(name: str, kind: type[UpstreamError]) -> None:
    file = RECORDED / "errors" / f"{name}.json"
    if not file.exists():
        pytest.skip("the recordings are not beside this checkout")
    error = errors.error_from_answer(int(name[:3]), file.read_bytes())
    assert type(error) is kind
    assert len(str(error)) < 320


@given(st.integers(100, 999), st.binary() | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_answer_is_an_error_with_a_short_clean_message(status: int, body: bytes) -> None:
    error = errors.error_from_answer(status, body)
    message = str(error)
    assert len(message) < 400
    assert message.isprintable() or all(c.isprintable() or c.isspace() for c in message)
    assert not any(ord(c) < 32 for c in message)


def test_an_upstreams_long_text_is_cut() -> None:
    message = str(errors.error_from_answer(500, orjson.dumps({"error": "\x1b[31m" + "x" * 10**6})))
    assert len(message) < 250
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("answer", "is_error"),
    [
        ({"status": {"usd": 0.02, "last_updated_at": 1}}, False),  # a coin's id
        ({"error": {"usd": 0.02}}, False),
        ({"bitcoin": {}}, False),
        ([], False),
        ({"error": "x"}, True),
        ({"status": {"error_code": 429}}, True),
        ({"error": {"status": {"error_code": 10012}}}, True),
    ],
)
def test_coins_named_like_errors_are_none(answer: object, is_error: bool) -> None:
    assert errors.error_in(answer) is is_error


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (TimeoutError(), Unreachable),
        (httpx.ReadTimeout(""), Unreachable),
        (httpx.ConnectError("refused"), Unreachable),
        (httpx.RemoteProtocolError("odd"), Unreachable),
        (httpx.DecodingError("bad gzip"), ServerFault),
        (httpx.InvalidURL("no"), BadRequest),
        (httpx.UnsupportedProtocol("ftp"), BadRequest),
        (UnicodeError("what"), Unreachable),
    ],
)
def test_failures_below_http(failure: Exception, kind: type[UpstreamError]) -> None:
    error = errors.error_from_failure(failure, lambda text: text)
    assert type(error) is kind
    assert 10 < len(str(error)) < 100


# Retry-After


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("119", 119.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("9" * 400, math.inf),
        (None, None),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("١٢", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", None),
        ("Thu, 99 Foo 99999 99:99:99 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert errors.seconds_to_wait(header) == seconds


def test_a_retry_after_date_is_measured_against_the_answers_own() -> None:
    moment = datetime(2020, 5, 1, 12, tzinfo=UTC)
    later = format_datetime(moment + timedelta(seconds=90), usegmt=True)
    assert errors.seconds_to_wait(later, format_datetime(moment, usegmt=True)) == 90.0
    assert errors.seconds_to_wait(later, "yesterday") is None
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert errors.seconds_to_wait(soon) == pytest.approx(90, abs=2)


@given(st.text(), st.text())
def test_any_retry_after_is_a_duration_or_none(header: str, date: str) -> None:
    seconds = errors.seconds_to_wait(header, date)
    assert seconds is None or seconds >= 0

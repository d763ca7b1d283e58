"""Every way of saying no, and how long to wait after it."""

import html
import json
import math
import unicodedata
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.coingecko import errors
from ingestion.coingecko.errors import (
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
from ingestion.coingecko.redaction import Redactor
from tests.ingestion.json_values import json_values

RECORDED = Path(__file__).parents[4] / "shared" / "coingecko" / "recorded"


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
    assert said in f"{error} ({error.said})"
    assert "\n" not in f"{error} ({error.said})"
    if isinstance(error, RateLimited):
        assert error.retry_after == 7.0


WORDS = "hunter2 <b>words</b> of upstream"
SHAPES: list[object] = [
    {"error": WORDS},
    {"status": 500, "error": WORDS},
    {"error": {"message": WORDS}},
    {"status": {"error_code": 10005, "error_message": WORDS}},
    {"error": {"status": {"error_code": 10012, "error_message": WORDS}}},
    {"error_code": 10002, "error_message": WORDS},
    {"message": WORDS},
    {"error": f"Incorrect path {WORDS}"},
    f"<html><title>{html.escape(WORDS)}</title>".encode(),
    WORDS.encode(),
    f"Throttled {WORDS}".encode(),
]


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 408, 422, 429, 500, 503])
@pytest.mark.parametrize("body", SHAPES)
def test_upstreams_words_are_for_the_log_alone(status: int, body: object) -> None:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    error = errors.error_from_answer(
        status, raw, scrub=lambda text: text.replace("hunter2", "[hidden]")
    )
    assert "words" not in str(error)
    assert "words" not in str(errors.UpstreamDown.after(error, 4))
    assert "words" in error.said
    assert "hunter2" not in error.said


@pytest.mark.parametrize(
    "kind",
    [httpx.ConnectError, httpx.ProxyError, httpx.RemoteProtocolError, httpx.ReadError, OSError,
     httpx.DecodingError, httpx.InvalidURL, httpx.UnsupportedProtocol],
)  # fmt: skip
def test_a_librarys_words_are_for_the_log_alone(kind: type[Exception]) -> None:
    error = errors.error_from_failure(kind(WORDS), lambda text: text.replace("hunter2", "x"))
    assert "words" not in str(error)
    assert error.said.endswith("x <b>words</b> of upstream")


def test_a_secret_is_taken_out_before_the_text_is_cut() -> None:
    long = orjson.dumps({"error": "x" * 195 + "hunter2-and-more"})
    error = errors.error_from_answer(400, long, scrub=Redactor(["hunter2-and-more"]))
    assert "hun" not in error.said


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
        pytest.skip("the recordings are not next to this checkout")
    error = errors.error_from_answer(int(name[:3]), file.read_bytes())
    assert type(error) is kind
    assert len(str(error)) < 320


TURNS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@example(500, b"\xe2\x80\xaedekcit")
@example(500, b'{"error": "a\\u2066b\\u2028c\\u0085d"}')
@given(st.integers(100, 999), st.binary() | json_values.map(lambda v: json.dumps(v).encode()))
def test_any_answer_is_an_error_with_a_short_clean_message(status: int, body: bytes) -> None:
    error = errors.error_from_answer(status, body)
    message = f"{error} ({error.said})"
    assert len(message) < 400
    # control characters, surrogates, ends of lines and paragraphs, turns of direction
    assert not {unicodedata.category(each) for each in message} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(each) for each in message} & TURNS


def test_an_upstreams_long_text_is_cut() -> None:
    said = errors.error_from_answer(500, orjson.dumps({"error": "\x1b[31m" + "x" * 10**6})).said
    assert 100 < len(said) < 250
    assert "\x1b" not in said


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

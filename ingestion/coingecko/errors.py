"""The errors of upstream calls, and how responses are classified as one of them:

* UpstreamError
  - Unreachable      no response: refused, reset, timed out (retried)
  - ServerFault      5xx, HTML, cut-off JSON, the CDN's 403, redirects (retried)
  - RateLimited      429, or a text that starts with `Throttled` (retried after a pause)
  - AccessRefused    key, plan or host do not match: ends the whole run
  - HistoryTooLong   the range starts before the history the plan offers
  - NotFound         no such coin
  - BadRequest       upstream rejects the request
  - BadAnswer        status 200 with an unexpected body
  - UpstreamDown    every call fails: ends the whole run

Every message is written here and quotes at most the HTTP status, so it may be shown to clients.
`said` holds the text of upstream or of a library, for the log only.
"""
# ruff: noqa: N818 - `except RateLimited` reads better, and the base class is UpstreamError

import email.utils
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import httpx
import orjson

_TEXT_LIMIT = 200
_MOST_SCRUBBED = 20_000  # characters scrubbed: far more than shown, so no secret is cut in two
# Control characters, including those that change the direction of text.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)
_TITLE = re.compile(r"<title[^<>]*>([^<]*)", re.IGNORECASE)
_SECONDS = re.compile(r"\d+(\.\d*)?", re.ASCII)


class UpstreamError(Exception):
    """The base class of upstream errors. `status` is the HTTP status, None without a response.

    `retry_after` is in seconds, None if upstream named no time. `deliberate` is True if CoinGecko
    itself rejected this call, so that other calls may succeed. `said` is the reason that upstream
    or a library gave: short, on one line, and never shown to clients or stored, because upstream
    may quote anything that it was sent.
    """

    advice = "the next refresh fetches what is missing"  # shown if every call fails in this way

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        deliberate: bool = False,
        said: str = "",
    ) -> None:
        super().__init__(message)
        self.said = said
        self.status = status
        self.retry_after = retry_after
        self.deliberate = deliberate


class Unreachable(UpstreamError):
    """There was no response, or only part of one."""

    advice = "check this machine's network, its proxy settings and COINGECKO_BASE_URL"


class ServerFault(UpstreamError):
    """Upstream, or the CDN in front of it, failed."""

    @property
    def advice(self) -> str:  # type: ignore[override] # by status
        """What an operator can do about it, by HTTP status."""
        if self.status == 403:  # noqa: PLR2004 - HTTP status
            return (
                "the CDN bans this address, usually for minutes to hours: lower "
                "COINGECKO_REQUESTS_PER_MINUTE or set COINGECKO_API_KEY, and wait"
            )
        if self.status is not None and self.status < 400:  # noqa: PLR2004 - HTTP statuses
            return "check COINGECKO_BASE_URL, and for a proxy or a login page in between"
        return "wait until CoinGecko works again; the next refresh fetches what is missing"


class RateLimited(UpstreamError):
    """Too many calls.

    The client raises it after all retries were refused, so another call is unlikely to succeed.
    """

    advice = "lower COINGECKO_REQUESTS_PER_MINUTE or set COINGECKO_API_KEY"


class AccessRefused(UpstreamError):
    """The key, plan or host is wrong. The message names the setting to change."""


class HistoryTooLong(UpstreamError):
    """The range starts before the history that the API plan offers."""


class NotFound(UpstreamError):
    """Upstream does not know the coin."""


class BadRequest(UpstreamError):
    """Upstream rejects the request."""


class BadAnswer(UpstreamError):
    """Upstream answered 200 with an unexpected body."""

    advice = "check COINGECKO_BASE_URL, and for a newer version of coingraph"


class UpstreamDown(UpstreamError):
    """Every call fails. The message contains the last error and what to do."""

    @classmethod
    def after(cls, error: UpstreamError, calls: int) -> "UpstreamDown":
        """Create the error that ends a run after `calls` consecutive failed calls.

        `error` is the last of their errors.
        """
        return cls(
            f"{error}; {calls} calls in a row failed, so no more were made: {error.advice}",
            status=error.status,
        )


_ADVICE = {
    10002: "CoinGecko asks for an API key: set COINGECKO_API_KEY, and COINGECKO_PLAN to its plan",
    10005: "this plan may not make the call: change COINGECKO_PLAN and COINGECKO_API_KEY",
    10010: "wrong key for this host: for a Pro key set COINGECKO_PLAN=pro, else correct"
    " COINGECKO_API_KEY; leave COINGECKO_BASE_URL unset",
    10011: "wrong key for this host: for a Demo key set COINGECKO_PLAN=demo, else correct"
    " COINGECKO_API_KEY; leave COINGECKO_BASE_URL unset",
}
_ANY_ACCESS = "CoinGecko refuses access: check COINGECKO_API_KEY and COINGECKO_PLAN"
_HISTORY_CODE = 10012
_FIRST_OWN_CODE = 10000  # smaller codes are HTTP statuses and codes of the CDN
_FAILURES: dict[type[Exception], str] = {
    httpx.ProxyError: "the proxy refuses or fails",
    httpx.ConnectError: "no connection",
    httpx.ProtocolError: "no whole HTTP answer",
    httpx.NetworkError: "the connection broke",
}
_PASSING_CLIENT_ERRORS = {403, 408, 425}  # 403 without a code of CoinGecko's comes from the CDN


def plain(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Return `text` on one line, without control characters, cut to `limit` characters."""
    text = " ".join(_UNPRINTABLE.sub(" ", text[: 8 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def error_from_answer(
    status: int,
    body: bytes,
    *,
    retry_after: float | None = None,
    scrub: Callable[[str], str] = str,
) -> UpstreamError:
    """Classify an error response by status and body, whatever shape the body has.

    `scrub` removes secrets from the text that becomes `said`.
    """
    parsed = _parse_error(body)
    if status == 200 and parsed.code and 400 <= parsed.code < 600:  # noqa: PLR2004 - HTTP statuses
        status = parsed.code
    error: UpstreamError
    if status == 429 or parsed.code == 429 or is_throttled(body):  # noqa: PLR2004 - HTTP status
        error = RateLimited(f"CoinGecko answered {status}: too many calls", status=status)
    else:
        error = _by_code(status, parsed) or _by_status(status, parsed)
    error.retry_after = retry_after
    error.said = plain(scrub(parsed.text))
    return error


def error_from_failure(error: Exception, scrub: Callable[[str], str] = str) -> UpstreamError:
    """Classify an exception raised below HTTP.

    Its text becomes `said` after `scrub`: libraries quote what they received, and URLs with
    passwords.
    """
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return Unreachable("CoinGecko gave no answer in time")
    parsed = f"{type(error).__name__}: {error}"[:_MOST_SCRUBBED]
    said = plain(scrub(parsed.encode("utf-8", "replace").decode()))
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return BadRequest("this cannot be asked of CoinGecko", said=said)
    if isinstance(error, httpx.DecodingError):
        return ServerFault("CoinGecko's answer is damaged", said=said)
    kinds = (why for kind, why in _FAILURES.items() if isinstance(error, kind))
    return Unreachable(f"CoinGecko cannot be reached: {next(kinds, 'see the log')}", said=said)


def error_in(answer: object) -> bool:
    """Return True if decoded JSON is one of CoinGecko's error bodies, whatever the status.

    Prices are keyed by coin id, and coins named `status` or `error` may exist, so the inner shape
    decides. A body with a list `prices` is a chart and never an error.
    """
    match answer:
        case {"prices": list()}:
            return False
        case {"error": str()} | {"status": {"error_code": _}}:
            return True
        case {"error": {"status": {"error_code": _}}}:
            return True
    return False


def is_throttled(body: bytes) -> bool:
    """Return True for the rate limiter's plain text, which comes with various statuses."""
    return body.lstrip()[:9].lower() == b"throttled"


def seconds_to_wait(retry_after: str | None, date: str | None = None) -> float | None:
    """Return the seconds of a `Retry-After` header; None if it is absent, past or malformed.

    An HTTP date is compared with the response's own `Date`, so that a wrong local clock does no
    harm.
    """
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until = _http_date(text)
    if until is None:
        return None
    seconds = (until - (_http_date(date or "") or datetime.now(UTC))).total_seconds()
    return seconds if seconds > 0 else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class _ErrorBody(NamedTuple):
    """A parsed error body: CoinGecko's error code, the raw text, and the kind of body."""

    code: int | None
    text: str
    kind: Literal["json", "html", "text"]


def _parse_error(body: bytes) -> _ErrorBody:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[:_MOST_SCRUBBED].decode("utf-8", "replace")
        if not text.lstrip().startswith("<"):
            return _ErrorBody(None, text, "text")
        title = _TITLE.search(text)
        return _ErrorBody(None, title[1] if title else "an HTML page", "html")
    parsed: dict[str, object] = {}
    match answer:
        case {"status": int(status), "error": str(error)}:
            parsed = {"error_code": status, "error_message": error}
        case {"error": str(error)}:
            parsed = {"error_message": error}
        case {"error": {"status": dict(inner)}} | {"status": dict(inner)} | {"error": dict(inner)}:
            parsed = inner
        case dict(inner):
            parsed = inner
    code, said = parsed.get("error_code"), parsed.get("error_message") or parsed.get("message")
    return _ErrorBody(
        code if isinstance(code, int) and not isinstance(code, bool) else None,
        said[:_MOST_SCRUBBED] if isinstance(said, str) else "",
        "json",
    )


def _by_code(status: int, parsed: _ErrorBody) -> UpstreamError | None:
    if parsed.code == _HISTORY_CODE:
        advice = "CoinGecko's plan offers less history: lower HISTORY_DAYS or change COINGECKO_PLAN"
        return HistoryTooLong(advice, status=status, deliberate=True)
    own = parsed.code is not None and parsed.code >= _FIRST_OWN_CODE
    if parsed.code in _ADVICE or status == 401 or (own and status == 403):  # noqa: PLR2004 - HTTP
        advice = _ADVICE.get(parsed.code or 0, _ANY_ACCESS)
        return AccessRefused(advice, status=status)
    return None


def _by_status(status: int, parsed: _ErrorBody) -> UpstreamError:
    where = f"CoinGecko answered {status}"
    kind: type[UpstreamError] = ServerFault
    if status == 200:  # noqa: PLR2004 - HTTP status
        if parsed.kind == "json":
            where, kind = f"{where} with an error", BadAnswer
        else:
            where = f"{where} with no JSON"
    elif 300 <= status < 400:  # noqa: PLR2004 - HTTP statuses
        where = f"{where}, a redirect: check COINGECKO_BASE_URL"
    elif status == 404 and (parsed.kind == "html" or parsed.text.startswith("Incorrect path")):  # noqa: PLR2004 - HTTP status
        where, kind = f"{where}: check COINGECKO_BASE_URL", BadRequest
    elif status == 404:  # noqa: PLR2004 - HTTP status
        kind = NotFound
    elif 400 <= status < 500 and status not in _PASSING_CLIENT_ERRORS:  # noqa: PLR2004 - HTTP
        kind = BadRequest
    own_word = parsed.kind == "json" and issubclass(kind, NotFound | BadRequest)
    return kind(where, status=status, deliberate=own_word)

"""CoinGecko's error responses, in six shapes, and JSON responses."""

from datetime import UTC, datetime
from email.utils import format_datetime
from math import ceil
from typing import Any

import orjson
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from simulator.options import RetryAfterForm

_PRICING = "https://www.coingecko.com/en/api/pricing"
MESSAGES = {
    10002: "API Key Missing. Please make sure you're using the right authentication method.",
    10005: f"This request is limited to PRO API subscribers. Subscribe to a plan at {_PRICING}.",
    10010: "If you are using Pro API key, please change your root URL "
    "from api.coingecko.com to pro-api.coingecko.com",
    10011: "If you are using Demo API key, please change your root URL "
    "from pro-api.coingecko.com to api.coingecko.com",
    10012: "Your request exceeds the allowed time range. Public API users are limited to "
    f"querying historical data within the past 365 days. Upgrade at {_PRICING}.",
}
_CDN_PAGE = """<!DOCTYPE html>
<html lang="en"><head><title>{title}</title></head>
<body><h1>{title}</h1><p>Ray ID: 0000000000000000</p></body></html>
"""


def json_response(content: Any, status: int = 200) -> Response:  # noqa: ANN401 - any JSON
    """Return a JSON response with CoinGecko's headers."""
    return Response(
        orjson.dumps(content),
        status,
        media_type="application/json; charset=utf-8",
        headers={"cache-control": "max-age=30, public, must-revalidate"},
    )


def plain_error(status: int, message: str) -> Response:
    """Return an error of the shape `{"error": "text"}`."""
    return json_response({"error": message}, status)


def status_error(status: int, code: int, message: str | None = None) -> Response:
    """Return an error of the shape `{"status": {"error_code", "error_message"}}`."""
    return json_response({"status": _status(code, message or MESSAGES[code])}, status)


def nested_error(status: int, code: int, message: str | None = None) -> Response:
    """Return an error of the shape `{"error": {"status": {...}}}`."""
    return json_response({"error": {"status": _status(code, message or MESSAGES[code])}}, status)


def server_error(status: int, *, nested: bool) -> Response:
    """Return an error of the shape `{"status": 500, "error": "text"}`, or of the nested shape."""
    if nested:
        return nested_error(status, status, "Internal Server Error")
    return json_response({"status": status, "error": "Internal Server Error"}, status)


def cdn_page(status: int, title: str) -> Response:
    """Return an HTML error page of the CDN."""
    return HTMLResponse(_CDN_PAGE.format(title=title), status)


def throttled_text(status: int) -> Response:
    """Return the rate limiter's plain text."""
    return PlainTextResponse("Throttled\n", status)


def rate_limited(wait: float, form: RetryAfterForm, now: float) -> Response:
    """Return a 429 whose Retry-After is `wait` seconds from `now` (UNIX time), in `form`."""
    answer = status_error(429, 429, f"You've exceeded the Rate Limit. Please visit {_PRICING}.")
    if form == "seconds":
        answer.headers["retry-after"] = str(max(1, ceil(wait)))
    elif form == "date":
        moment = datetime.fromtimestamp(ceil(now + wait), UTC)
        answer.headers["retry-after"] = format_datetime(moment, usegmt=True)
    return answer


def _status(code: int, message: str) -> dict[str, Any]:
    timestamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"timestamp": timestamp, "error_code": code, "error_message": message}

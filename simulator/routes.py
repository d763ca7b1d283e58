"""The endpoints under `/api/v3`."""

import math
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from simulator.answers import json_response, nested_error, plain_error, status_error
from simulator.catalog import COINS, CURRENCIES
from simulator.chart import ChartMaker
from simulator.coins import coin_detail, coin_list, is_precision, rounded, simple_price
from simulator.market import Market
from simulator.options import SimulatorOptions

BASE_PATH = "/api/v3"
_DAY_S = 86_400
_UNLIMITED_RATE = 500
_MONTHLY_CREDIT = 500_000
# Allows for the time between a client's clock reading and the server's.
_GRACE_S = 60


class Endpoints:
    """The endpoints of one simulated market."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._options = options
        self._market = Market(options.seed, options.clock())

    def routes(self) -> list[Route]:
        """Return the routes of all endpoints."""
        table = {
            "/ping": self.ping,
            "/key": self.key,
            "/simple/price": self.simple_price,
            "/coins/list": self.coins_list,
            "/coins/{id}": self.coin,
            "/coins/{id}/market_chart/range": self.chart_range,
        }
        return [Route(BASE_PATH + path, endpoint) for path, endpoint in table.items()]

    async def ping(self, _request: Request) -> Response:
        """Handle `/ping`."""
        return json_response({"gecko_says": "(V3) To the Moon!"})

    async def key(self, _request: Request) -> Response:
        """Handle `/key`: the plan and its limits."""
        if self._options.plan != "pro":
            return status_error(401, 10005)
        return json_response(
            {
                "plan": "Analyst",
                "rate_limit_request_per_minute": self._options.requests_per_minute
                or _UNLIMITED_RATE,
                "monthly_call_credit": _MONTHLY_CREDIT,
                "current_total_monthly_calls": 0,
                "current_remaining_monthly_calls": _MONTHLY_CREDIT,
            }
        )

    async def coins_list(self, _request: Request) -> Response:
        """Handle `/coins/list`."""
        return json_response(coin_list())

    async def coin(self, request: Request) -> Response:
        """Handle `/coins/{id}`."""
        coin = COINS.get(request.path_params["id"])
        if coin is None:
            return plain_error(404, "coin not found")
        query = dict(request.query_params)
        return json_response(coin_detail(self._market, coin, query, self._options.clock()))

    async def simple_price(self, request: Request) -> Response:
        """Handle `/simple/price`."""
        query = dict(request.query_params)
        refusal = _missing(query, "ids", "vs_currencies") or _bad_precision(query)
        return refusal or json_response(simple_price(self._market, query, self._options.clock()))

    async def chart_range(self, request: Request) -> Response:
        """Handle `/coins/{id}/market_chart/range`."""
        coin = COINS.get(request.path_params["id"])
        if coin is None:
            return plain_error(404, "coin not found")
        query = dict(request.query_params)
        now = self._options.clock()
        window = self._window(query, now)
        if isinstance(window, Response):
            return window
        maker = ChartMaker(self._market, coin, query["vs_currency"].lower())
        chart = maker.chart(*window, now)
        precision = query.get("precision", "full")
        if precision != "full":
            chart["prices"] = [(at, rounded(price, precision)) for at, price in chart["prices"]]
        return json_response(chart)

    def _window(self, query: dict[str, str], now: float) -> tuple[int, int] | Response:
        """Return the requested range in milliseconds, or the response that refuses it."""
        refusal = _missing(query, "vs_currency", "from", "to") or _bad_precision(query)
        if refusal:
            return refusal
        if query["vs_currency"].lower() not in CURRENCIES:
            return plain_error(422, "invalid vs_currency")
        if "interval" in query and self._options.plan != "pro":
            return status_error(401, 10005)
        start, end = _instant(query["from"]), _instant(query["to"])
        if start is None or end is None:
            return plain_error(422, "Invalid date parameter")
        if self._too_old(start, now):
            return nested_error(401, 10012)
        return int(start * 1000), int(end * 1000)

    def _too_old(self, start: float, now: float) -> bool:
        oldest = now - self._options.history_days * _DAY_S - _GRACE_S
        return self._options.plan != "pro" and start < oldest


async def wrong_path(_request: Request, _error: Exception) -> Response:
    """Handle unknown paths."""
    return plain_error(404, "Incorrect path. Please check https://www.coingecko.com/api/")


def _missing(query: dict[str, str], *names: str) -> Response | None:
    for name in names:
        if not query.get(name):
            return plain_error(422, f"Missing parameter {name}")
    return None


def _bad_precision(query: dict[str, str]) -> Response | None:
    if is_precision(query.get("precision")):
        return None
    return plain_error(422, "Invalid precision")


def _instant(text: str) -> float | None:
    """Parse UNIX seconds or an ISO date (UTC without an offset); None if it is neither."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    # larger values are outside the range of datetime
    return seconds if math.isfinite(seconds) and abs(seconds) < 1e11 else None  # noqa: PLR2004 - a date no clock reaches

"""The checks in front of every endpoint: request log, CDN, rate limit, API key."""

import time
from collections import deque
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Send

from simulator.answers import cdn_page, rate_limited, status_error
from simulator.options import SimulatorOptions

DEMO_HEADER = "x-cg-demo-api-key"
PRO_HEADER = "x-cg-pro-api-key"
_LOG_LENGTH = 10_000


@dataclass(slots=True)
class LoggedRequest:
    """A received request.

    `at` is UNIX time in seconds, `target` is path and query. `status` is 0 until the response
    begins, and stays 0 if the connection was reset.
    """

    at: float
    status: int
    target: str
    user_agent: str
    has_key: bool

    def __str__(self) -> str:
        key = "yes" if self.has_key else "no"
        agent = self.user_agent or "-"
        return f"{self.at:.3f} {self.status} {self.target} key={key} agent={agent}"


class ReceivedRequests:
    """The newest 10,000 requests, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[LoggedRequest] = deque(maxlen=_LOG_LENGTH)

    def entries(self) -> list[LoggedRequest]:
        """Return the logged requests."""
        return list(self._entries)

    def arrived(self, request: Request) -> LoggedRequest:
        """Log a request that has arrived."""
        query = request.url.query
        entry = LoggedRequest(
            at=time.time(),
            status=0,
            target=request.url.path + (f"?{query}" if query else ""),
            user_agent=request.headers.get("user-agent", ""),
            has_key=DEMO_HEADER in request.headers or PRO_HEADER in request.headers,
        )
        self._entries.append(entry)
        return entry


def with_logged_status(send: Send, entry: LoggedRequest) -> Send:
    """Wrap `send` so that the status is logged before the client can see it."""

    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            entry.status = message["status"]
        await send(message)

    return noted


class RateWindow:
    """A sliding-window rate limit. Refused requests count too, as at CoinGecko."""

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._arrivals: deque[float] = deque(maxlen=limit + 1)

    def count(self) -> float:
        """Count a request. Returns 0 if it is allowed, else the seconds until one would be."""
        if not self._limit:
            return 0.0
        now = time.monotonic()
        self._arrivals.append(now)
        while self._arrivals[0] <= now - self._seconds:
            self._arrivals.popleft()
        if len(self._arrivals) <= self._limit:
            return 0.0
        # The next request is allowed once the second oldest has left the window.
        return self._arrivals[1] + self._seconds - now


class Gate:
    """Refuses requests for reasons that do not depend on the endpoint."""

    def __init__(self, options: SimulatorOptions) -> None:
        self._options = options
        self._window = RateWindow(options.requests_per_minute, options.limit_window)

    def refusal(self, request: Request) -> Response | None:
        """Count the request. Returns the response that refuses it, or None."""
        wait = self._window.count()
        if not request.headers.get("user-agent"):
            return cdn_page(403, "Access denied | Error code 1020")
        if wait > 0:
            return rate_limited(wait, self._options.retry_after, time.time())
        return self._key_refusal(request)

    def _key_refusal(self, request: Request) -> Response | None:
        pro = self._options.plan == "pro"
        if not pro and PRO_HEADER in request.headers:
            return status_error(400, 10010)
        if pro and DEMO_HEADER in request.headers:
            return status_error(400, 10011)
        wanted = self._options.api_key
        given = request.headers.get(PRO_HEADER if pro else DEMO_HEADER)
        if wanted is not None and given != wanted:
            return status_error(401, 10002)
        return None

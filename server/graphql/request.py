"""The state of one GraphQL request, from its arrival to its response."""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.types import Scope

from models.postgres.stopwatch import Stopwatch
from server.access.callers import caller_of
from server.graphql.request_parsing import RequestParameters, headers_of
from server.graphql.response_cache import BYPASS

if TYPE_CHECKING:
    from server.access.rate_limits import RateLimitAccount


class GraphQLRequest:
    """One GraphQL operation in an ASGI scope.

    `private`: the response is for this caller only and is never cached. `cached`: the value of the
    response header X-Cache. `account`: the rate limit account that the request is charged to, None
    without rate limits. `database` and `encoding` measure the time for Server-Timing.
    """

    __slots__ = (
        "account",
        "cached",
        "database",
        "encoding",
        "headers",
        "parameters",
        "private",
        "scope",
        "started",
    )

    def __init__(self, scope: Scope) -> None:
        self.started = perf_counter()
        self.scope = scope
        self.headers = headers_of(scope)
        self.parameters: RequestParameters
        self.database = Stopwatch()
        self.encoding = Stopwatch()
        self.cached = BYPASS
        self.private = True
        self.account: RateLimitAccount | None = None

    @property
    def caller(self) -> str:
        """The caller's name, as `caller_of` derives it from the address."""
        client = self.scope.get("client")
        return caller_of(client[0] if client else None)

    def rate_limit(self) -> Sequence[tuple[bytes, bytes]]:
        """Return the headers RateLimit and RateLimit-Policy; empty without rate limits."""
        return () if self.account is None else self.account.headers()

    def server_timing(self) -> bytes:
        """Return the value of Server-Timing. https://www.w3.org/TR/server-timing/"""
        return b"total;dur=%.2f, db;dur=%.2f, encode;dur=%.2f" % (
            (perf_counter() - self.started) * 1e3,
            self.database.seconds * 1e3,
            self.encoding.seconds * 1e3,
        )

"""One request, and what is noted of it on the way to its answer."""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from starlette.types import Scope

from models.postgres.stopwatch import Stopwatch
from server.access.callers import caller_of
from server.graphql.request_parsing import Operation, headers_of
from server.graphql.response_cache import BYPASS

if TYPE_CHECKING:
    from server.access.rate_limits import Account


class GraphQLRequest:
    """`private`: its answer is for this caller alone. `cached`: what X-Cache will say.

    `account` is charged for it, where there are rate limits.
    """

    __slots__ = (
        "account",
        "cached",
        "database",
        "encoding",
        "headers",
        "operation",
        "private",
        "scope",
        "started",
    )

    def __init__(self, scope: Scope) -> None:
        self.started = perf_counter()
        self.scope = scope
        self.headers = headers_of(scope)
        self.operation: Operation
        self.database = Stopwatch()
        self.encoding = Stopwatch()
        self.cached = BYPASS
        self.private = True
        self.account: Account | None = None

    @property
    def caller(self) -> str:
        """Name who asks, as `caller_of` does."""
        client = self.scope.get("client")
        return caller_of(client[0] if client else None)

    def rate_limit(self) -> Sequence[tuple[bytes, bytes]]:
        """Tell what is left of the caller's account, where there are rate limits."""
        return () if self.account is None else self.account.headers()

    def server_timing(self) -> bytes:
        """Tell what took how long. https://www.w3.org/TR/server-timing/"""
        return b"total;dur=%.2f, db;dur=%.2f, encode;dur=%.2f" % (
            (perf_counter() - self.started) * 1e3,
            self.database.seconds * 1e3,
            self.encoding.seconds * 1e3,
        )

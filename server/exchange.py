"""One request, and what is noted of it on the way to its answer."""

from time import perf_counter

from starlette.types import Scope

from models.stopwatch import Stopwatch
from server.cache import BYPASS
from server.requests import Operation, headers_of


class Exchange:
    """`private`: its answer is for this caller alone. `cached`: what X-Cache will say."""

    __slots__ = (
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

    def server_timing(self) -> bytes:
        """Tell what took how long. https://www.w3.org/TR/server-timing/"""
        return b"total;dur=%.2f, db;dur=%.2f, encode;dur=%.2f" % (
            (perf_counter() - self.started) * 1e3,
            self.database.seconds * 1e3,
            self.encoding.seconds * 1e3,
        )

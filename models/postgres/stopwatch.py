"""Measures how long an operation waits for the database."""

from contextvars import ContextVar
from time import perf_counter


class Stopwatch:
    """Measures the time while at least one of its blocks is active; `seconds` is the total."""

    __slots__ = ("_running", "_since", "seconds")

    def __init__(self) -> None:
        self._running = 0
        self._since = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        if not self._running:
            self._since = perf_counter()
        self._running += 1

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        if not self._running:
            self.seconds += perf_counter() - self._since


# An operation that is measured sets its own stopwatch; all other reads use this default one.
database_time: ContextVar[Stopwatch] = ContextVar("database_time", default=Stopwatch())  # noqa: B039 - the default's value is not used

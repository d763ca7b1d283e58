"""Exponential back-off of recurring work, with one log line per distinct error."""

import random

import structlog

from models.backoff import pause_after

log = structlog.get_logger("coingraph.schedule")

_FIRST_PAUSE = 1.0
_JITTER = 0.25


class Backoff:
    """The back-off of one kind of work. Logs a failure only if its reason has changed."""

    def __init__(self, work: str, *, longest_pause: float = 60.0) -> None:
        self._work = work
        self._longest_pause = longest_pause
        self._reason: str | None = None
        self._in_a_row = 0

    def failed(self, error: Exception, *, expected: bool = True) -> float:
        """Record a failure and return the seconds to wait; pauses double up to `longest_pause`.

        An error that is not `expected` is logged with its traceback.
        """
        reason = str(error) or repr(error)
        self._in_a_row += 1
        pause = pause_after(self._in_a_row, first=_FIRST_PAUSE, longest=self._longest_pause)
        if reason != self._reason:
            trace = None if expected else error
            log.warning("failed, trying again", work=self._work, reason=reason, exc_info=trace)
        self._reason = reason
        return float(pause * (1 + _JITTER * random.random()))  # noqa: S311 - jitter

    def succeeded(self) -> None:
        """Record a success, which resets the pauses."""
        if self._reason is not None:
            log.info("succeeded again", work=self._work, faults=self._in_a_row)
        self._reason, self._in_a_row = None, 0

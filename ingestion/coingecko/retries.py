"""The retry rule of calls to CoinGecko: which errors are retried, how often, and when."""

from ingestion.coingecko.circuit_breaker import CircuitBreaker
from ingestion.coingecko.errors import RateLimited, ServerFault, Unreachable


class RetryPolicy:
    """Decides whether one call is retried: a backoff hook for stamina. Create one per call.

    Unreachable and ServerFault: `attempts` attempts in total, with stamina's backoff. RateLimited:
    up to twice as many retries, without a pause here because the throttle pauses. Other errors,
    and all errors while `outage` forbids retries, are not retried.
    """

    def __init__(self, attempts: int, outage: CircuitBreaker) -> None:
        self._faults_left = attempts - 1
        self._refusals_left = 2 * (attempts - 1)
        self._outage = outage

    def __call__(self, error: Exception) -> bool | float:
        """Return False for no retry, True for stamina's backoff, or the seconds to wait."""
        if self._outage.forbids_retries:
            return False
        if isinstance(error, RateLimited):
            self._refusals_left -= 1
            return 0.0 if self._refusals_left >= 0 else False
        if isinstance(error, Unreachable | ServerFault):
            self._faults_left -= 1
            return self._faults_left >= 0
        return False

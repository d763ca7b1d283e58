"""Which call is tried again, and when: the retry rule of calls to CoinGecko."""

from ingestion.coingecko.circuit_breaker import Outage
from ingestion.coingecko.errors import RateLimited, ServerFault, Unreachable


class RetryPolicy:
    """Whether one call is worth another try: a backoff hook for stamina.

    `attempts` in all where upstream is unreachable or fails. Twice the retries where it says
    that we are too fast: the throttle's pause is the cure for that, so there is none here. None
    where no call is answered at all.
    """

    def __init__(self, attempts: int, outage: Outage) -> None:
        self._faults_left = attempts - 1
        self._refusals_left = 2 * (attempts - 1)
        self._outage = outage

    def __call__(self, error: Exception) -> bool | float:
        if self._outage.forbids_retries:
            return False
        if isinstance(error, RateLimited):
            self._refusals_left -= 1
            return 0.0 if self._refusals_left >= 0 else False
        if isinstance(error, Unreachable | ServerFault):
            self._faults_left -= 1
            return self._faults_left >= 0
        return False

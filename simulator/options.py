"""The options of a simulator."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

RetryAfterForm = Literal["seconds", "date", "none"]
ApiPlan = Literal["keyless", "demo", "pro"]


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """The behaviour of a simulator. The defaults suit a demo: no limits, no key.

    `seed` selects the market: equal seeds give equal prices in every process at any time.
    `requests_per_minute` limits the requests of the last `limit_window` seconds, including refused
    ones; 0 is no limit. `retry_after` is the form of that header on a 429. `api_key`, if set, is
    required in the header of `plan`. `history_days` is the history that the free plans offer.
    `clock` returns UNIX seconds and drives the market, not the rate limit.
    """

    seed: int = 1
    requests_per_minute: int = 0
    retry_after: RetryAfterForm = "seconds"
    api_key: str | None = None
    plan: ApiPlan = "keyless"
    history_days: int = 365
    clock: Callable[[], float] = time.time
    limit_window: float = 60.0


DEFAULT_OPTIONS = SimulatorOptions()

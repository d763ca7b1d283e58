"""What can be chosen about a simulator."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

RetryAfterForm = Literal["seconds", "date", "none"]
ApiPlan = Literal["keyless", "demo", "pro"]


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """How a simulator behaves. The defaults suit a demo: no limits, no key.

    `seed` names the market: equal seeds give equal prices, in any process, at any time.
    `requests_per_minute` counts every request of the last `limit_window` seconds, refused ones
    too; 0 is no limit. `retry_after` is the form of that header on a 429.
    `api_key`, where set, is wanted in the header of `plan`. `history_days` is how far back the
    free plans may ask. `clock` gives UNIX seconds and moves the market, not the rate limit.
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

"""The number of cases and their seeds: fixed in the suite, for a time under `make fuzz`."""

import os
import secrets
import time
from collections.abc import Iterator
from random import Random

# `make fuzz` sets the first and prints the second, which repeats what it did.
SECONDS = float(os.environ.get("FUZZ_SECONDS") or 0)
SEED = os.environ.get("FUZZ_SEED") or (str(secrets.randbelow(10**9)) if SECONDS else "0")


class Case:
    """One case. Its name is its random seed."""

    def __init__(self, subject: str, number: int) -> None:
        self.name = f"{subject}/{number} of seed {SEED}"
        self.random = Random(self.name)  # noqa: S311 - it must repeat


def cases(subject: str, count: int, share: float) -> Iterator[Case]:
    """Yield `count` cases; under `make fuzz`, as many as a `share` of its time allows."""
    until = time.monotonic() + SECONDS * share
    number = 0
    while number < count or time.monotonic() < until:
        yield Case(subject, number)
        number += 1

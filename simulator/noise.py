"""Randomness without state: each number is a pure function of a key and an index.

Only additions and multiplications touch the values, element by element. NumPy's `exp` and `sum`
may differ in the last bit with the processor or the length of the array, and one sample asked for
in two ranges must be the same number.
"""

from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

SHORTEST_MS = 300_000
DAY_MS = 86_400_000
ALL_OCTAVES = range(17)  # periods of 5 minutes to 228 days

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_EXP_DOUBLINGS = 10
# Brings the sum of all octaves to the asked-for spread over one day (measured).
_SCALE = 0.8


@lru_cache(maxsize=65_536)
def key(*parts: str | int) -> int:
    """A 64-bit number for a name, the same in every process."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def uniform(stream: int, index: Ints) -> Floats:
    """Numbers in [0, 1): for each index its own, and for each stream others (splitmix64)."""
    z = index.astype(np.uint64) * _GOLDEN + np.uint64(stream)
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def chance(stream: int, index: int) -> float:
    """One number in [0, 1)."""
    return float(uniform(stream, np.array([index], dtype=np.int64))[0])


def ripple(stream: int, times: Ints, period: int) -> Floats:
    """A line through random heights in [-1, 1], one each `period` milliseconds."""
    slot = times // period
    share = (times - slot * period) / period
    left = uniform(stream, slot)
    right = uniform(stream, slot + 1)
    return 2.0 * (left + (right - left) * share) - 1.0


def wander(
    name: tuple[str | int, ...], times: Ints, daily: float, octaves: range = ALL_OCTAVES
) -> Floats:
    """A bounded random walk: its change over one day has a standard deviation near `daily`."""
    total = np.zeros(len(times))
    for octave in octaves:
        period = SHORTEST_MS << octave
        height = _SCALE * daily * (period / DAY_MS) ** 0.5
        total += height * ripple(key(*name, octave), times, period)
    return total


def growth(exponent: Floats) -> Floats:
    """Nearly e to the power of `exponent`, and positive for any that `wander` gives."""
    result: Floats = 1.0 + exponent / 2**_EXP_DOUBLINGS
    for _ in range(_EXP_DOUBLINGS):
        result = result * result
    return result

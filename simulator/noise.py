"""Stateless random numbers: each is a pure function of a key and an index.

Values are computed element by element with additions and multiplications only. NumPy's `exp` and
`sum` can differ in the last bit with the processor or the array's length, but a sample must be the
same number in every range that contains it.
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
# Scales the sum of all octaves to the requested deviation over one day (measured).
_SCALE = 0.8


@lru_cache(maxsize=65_536)
def key(*parts: str | int) -> int:
    """Return a 64-bit number for a name, the same in every process."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def uniform(stream: int, index: Ints) -> Floats:
    """Return numbers in [0, 1), a pure function of stream and index (splitmix64)."""
    z = index.astype(np.uint64) * _GOLDEN + np.uint64(stream)
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def chance(stream: int, index: int) -> float:
    """Return one number in [0, 1)."""
    return float(uniform(stream, np.array([index], dtype=np.int64))[0])


def ripple(stream: int, times: Ints, period: int) -> Floats:
    """Interpolate between random values in [-1, 1], one per `period` milliseconds."""
    slot = times // period
    share = (times - slot * period) / period
    left = uniform(stream, slot)
    right = uniform(stream, slot + 1)
    return 2.0 * (left + (right - left) * share) - 1.0


def wander(
    name: tuple[str | int, ...], times: Ints, daily: float, octaves: range = ALL_OCTAVES
) -> Floats:
    """Return a bounded random walk whose daily change has a standard deviation near `daily`."""
    total = np.zeros(len(times))
    for octave in octaves:
        period = SHORTEST_MS << octave
        height = _SCALE * daily * (period / DAY_MS) ** 0.5
        total += height * ripple(key(*name, octave), times, period)
    return total


def growth(exponent: Floats) -> Floats:
    """Approximate e to the power of `exponent`; positive for all values of `wander`."""
    result: Floats = 1.0 + exponent / 2**_EXP_DOUBLINGS
    for _ in range(_EXP_DOUBLINGS):
        result = result * result
    return result

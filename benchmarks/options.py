"""The options of a benchmark run."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HERE = Path(__file__).resolve().parent
CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Options:
    """`seconds` and `warmup` are those of one measurement, `rounds` how often each is taken.

    `enlargement` is how many times more series the large database has, `flood` how many varied
    requests the memory of a worker is watched over.
    """

    quick: bool
    rounds: int
    seconds: float
    warmup: float
    enlargement: int
    flood: int
    folder: Path

    @classmethod
    def full(cls, folder: Path, rounds: int | None = None) -> "Options":
        return cls(
            quick=False, rounds=rounds or 3, seconds=5, warmup=2, enlargement=100, flood=100_000,
            folder=folder,
        )  # fmt: skip

    @classmethod
    def hasty(cls, folder: Path, rounds: int | None = None) -> "Options":
        return cls(
            quick=True, rounds=rounds or 2, seconds=2, warmup=1, enlargement=10, flood=2_000,
            folder=folder,
        )  # fmt: skip

"""The measured values, compared with the project's targets."""

from collections.abc import Sequence
from dataclasses import dataclass, field


def rounded(value: float) -> str:
    """Format a number with about three significant digits."""
    digits = next((d for least, d in ((100, 0), (0.1, 2)) if value >= least), 4)
    return f"{value:,.{digits}f}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One target; `value` is the measured value, None if it could not be measured."""

    work: str
    target: str
    value: float | None
    limit: float
    unit: str = "×"
    at_most: bool = False
    note: str = ""

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    @property
    def verdict(self) -> str:
        return {True: "reached", False: "NOT reached", None: "not measured"}[self.reached]

    @property
    def measured(self) -> str:
        if self.value is None:
            return "–"
        return f"{rounded(self.value)} {self.unit}"


@dataclass(frozen=True, slots=True)
class Section:
    """The results of one work: the rows of a Markdown table, remarks, and figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Sequence[Figure] = ()
    remarks: Sequence[str] = field(default=())

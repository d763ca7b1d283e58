"""Returns that are outliers against their own preceding window, and their likely cause."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from models.prices.read import Numbers
from resolvers.analysis.robust_deviation import Flags, trailing

Ints = npt.NDArray[np.int64]
BACK = 0.25  # the price is back if at most this share of a jump is left one bucket later
ALIKE = 0.5  # share of the threshold above which a coin moves alike
_ENOUGH_COINS = 2  # to distinguish one coin from all


class Scope(StrEnum):
    """The likely cause of an outlier, in order of precedence."""

    UPSTREAM = "UPSTREAM"
    MARKET = "MARKET"
    CURRENCY = "CURRENCY"
    COIN = "COIN"


SCOPES = tuple(Scope)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Prices of shape (series, buckets), NaN where missing.

    `currencies` numbers the currency of each row; no coin has two rows in one currency. The first
    `requested` rows are evaluated; the others serve for comparison only. The columns from `start`
    to `end` are evaluated: at least `window` + 2 columns precede them. One column follows them, if
    it exists already, which shows what came next.
    """

    prices: Numbers
    currencies: Ints
    requested: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Findings:
    """Anomalies sorted by time, then by descending score: arrays of one length.

    `judged` counts the comparable coins in the anomaly's currency and hour, `alike` those that
    moved alike, this one included. `scope` is an index into SCOPES.
    """

    row: Ints
    column: Ints
    log_return: Numbers
    expected: Numbers
    score: Numbers
    up: Flags
    scope: Ints
    alike: Ints
    judged: Ints

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class _Judged:
    """The expected return and the signed score of each row at the same columns."""

    expected: Numbers
    score: Numbers
    still: Flags


@dataclass(frozen=True, slots=True)
class _Comparison:
    """By direction (0 down, 1 up), currency and column: counts of coins, and majorities."""

    alike: Ints
    judged: Ints
    in_currency: Flags
    in_market: Flags


def find(matrix: Matrix, threshold: float, window: int) -> Findings:
    """Return the returns more than `threshold` deviations from their windows' medians."""
    returns = log_returns(matrix.prices)
    requested = returns[: matrix.requested]
    # one more column: a jump before the first one explains a way back
    columns = np.arange(matrix.start - 1, matrix.end)
    judged = _judge(requested, window, columns)
    flagged = np.abs(judged.score) > threshold
    upstream = judged.still | _back(requested, columns, flagged)
    flagged[:, 0] = False
    row, place = np.nonzero(flagged)
    order = np.lexsort((row, -np.abs(judged.score[row, place]), place))
    row, place = row[order], place[order]
    met = np.flatnonzero(flagged.any(axis=0))
    others = _judge(returns[matrix.requested :], window, columns[met])
    scores = np.concatenate([judged.score[:, met], others.score])
    peers = _compare(scores, matrix.currencies, threshold)
    score, column = judged.score[row, place], columns[place]
    group = ((score > 0).astype(int), matrix.currencies[row], np.searchsorted(met, place))
    return Findings(
        row=row,
        column=column,
        log_return=requested[row, column],
        expected=judged.expected[row, place],
        score=np.abs(score),
        up=score > 0,
        scope=np.select(
            [upstream[row, place], peers.in_market[group], peers.in_currency[group]],
            [0, 1, 2],
            default=3,
        ),
        alike=peers.alike[group],
        judged=peers.judged[group],
    )


def log_returns(prices: Numbers) -> Numbers:
    """Return each column's log return; NaN unless both prices are positive."""
    positive = np.where(prices > 0, prices, np.nan)
    returns = np.full(prices.shape, np.nan)
    with np.errstate(over="ignore", divide="ignore"):  # a ratio may exceed the range of a float
        returns[:, 1:] = np.log(positive[:, 1:] / positive[:, :-1])
    returns[np.isinf(returns)] = np.nan
    return returns


def _judge(returns: Numbers, window: int, columns: Ints) -> _Judged:
    """Compute row by row, which keeps the sorted windows within the processor's cache."""
    shape = (len(returns), len(columns))
    expected, score, still = np.empty(shape), np.empty(shape), np.empty(shape, dtype=bool)
    for number, row in enumerate(returns):
        before = trailing(row, window, columns)
        expected[number], still[number] = before.center, before.still
        score[number] = (row[columns] - before.center) / before.deviation
    return _Judged(expected, score, still)


def _back(returns: Numbers, columns: Ints, flagged: Flags) -> Flags:
    """Return for each jump, and for the way back, whether the price was back at once."""
    following = np.full((len(returns), len(columns)), np.nan)
    known = columns + 1 < returns.shape[1]
    following[:, known] = returns[:, columns[known] + 1]
    jumps = returns[:, columns]
    jump_back = flagged & (np.abs(jumps + following) <= BACK * np.abs(jumps))
    way_back = np.zeros_like(jump_back)
    way_back[:, 1:] = jump_back[:, :-1]
    either: Flags = jump_back | way_back
    return either


def _compare(scores: Numbers, currencies: Ints, threshold: float) -> _Comparison:
    count = int(currencies.max(initial=0)) + 1
    known = ~np.isnan(scores)
    moved = np.stack([scores < -ALIKE * threshold, scores > ALIKE * threshold])
    rows = [currencies == number for number in range(count)]
    judged = np.stack([known[of].sum(axis=0) for of in rows])
    alike = np.stack([moved[:, of].sum(axis=1) for of in rows], axis=1)
    in_currency = (2 * alike > judged) & (alike >= _ENOUGH_COINS)
    compared = (judged >= _ENOUGH_COINS).sum(axis=0)
    in_market = 2 * in_currency.sum(axis=1) > compared
    return _Comparison(
        alike=alike,
        judged=np.broadcast_to(judged, alike.shape),
        in_currency=in_currency,
        in_market=np.broadcast_to(in_market[:, np.newaxis], alike.shape),
    )

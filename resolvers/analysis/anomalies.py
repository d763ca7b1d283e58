"""The anomaly search: validation, reading, and the computation in a worker thread."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from models.postgres.database import Database
from models.prices.granularity import Granularity, Times
from models.prices.read import Numbers, PriceWindow, SeriesColumns, read_windows
from models.series import SeriesFacts, list_series
from resolvers.analysis.outliers import Findings, Ints, Matrix, find
from resolvers.cache_dependencies import CacheDependencies
from resolvers.errors import BadInputError, RangeTooLargeError
from resolvers.names import known_names
from resolvers.pagination import check_between
from resolvers.ranges import MOST_POINTS, check_range
from resolvers.scheduling.worker_thread import WorkerThread

MOST_CELLS = 500_000  # series × hours: the 44 default series over more than a year
MOST_ANOMALIES = 10_000
SHORTEST_WINDOW, LONGEST_WINDOW = 3, 168
LEAST_THRESHOLD, MOST_THRESHOLD = 1, 1_000_000
_HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# a search takes up to 0.5 s; numpy releases the GIL meanwhile
searches = WorkerThread(
    "anomalies", 32, "Too many searches are waiting: try again in a few seconds."
)


@dataclass(frozen=True, slots=True)
class Anomalies:
    """The findings and the series, times and prices of each: arrays of one length.

    `before` is the price of the hour before. `series` are the requested ones; `findings.row`
    indexes them.
    """

    findings: Findings
    series: Sequence[SeriesFacts]
    timestamps: Times
    price: Numbers
    before: Numbers


@dataclass(frozen=True, slots=True)
class _Hours:
    """The hours to evaluate, and the hours before them that the windows need."""

    start: datetime
    count: int
    window: int

    @property
    def before(self) -> int:
        return self.window + 2

    @property
    def read_from(self) -> datetime:
        return self.start - self.before * _HOUR

    def window_of(self, series: SeriesFacts) -> PriceWindow:
        many = self.before + self.count + 1
        names = (series.coin_id, series.currency_code)
        return PriceWindow(*names, self.read_from, self.read_from + many * _HOUR, many)


async def anomalies(
    database: Database,
    coins: Sequence[str] | None,
    currencies: Sequence[str] | None,
    *,
    start: datetime | None,
    end: datetime | None,
    threshold: float,
    window: int,
    now: datetime,
    dependencies: CacheDependencies,
    caller: str,
) -> Anomalies:
    """Search the hours in [start, end) of these series, read with one SQL statement.

    Searches of several callers run in rotation. Raises BadInputError, NotFoundError,
    RangeTooLargeError, and UnavailableError if too many searches wait.
    """
    check_between("window", window, SHORTEST_WINDOW, LONGEST_WINDOW)
    _check_threshold(threshold)
    start, end = check_range(Granularity.HOUR, start, end, now, dependencies)
    dependencies.add_catalogue()
    async with searches.place(caller):
        return await _anomalies(
            database, (coins, currencies), (start, end), threshold, window, dependencies
        )


async def _anomalies(
    database: Database,
    names: tuple[Sequence[str] | None, Sequence[str] | None],
    edges: tuple[datetime | None, datetime],
    threshold: float,
    window: int,
    dependencies: CacheDependencies,
) -> Anomalies:
    (coins, currencies), (start, end) = names, edges
    coin_ids, codes = await known_names(database, coins, currencies)
    requested = await list_series(database, coin_ids, codes)
    starts = [each.history_from for each in requested if each.history_from]
    hours = _hours(start or min(starts, default=end), end, window)
    _check_size(len(requested), hours.count)
    # without requested series there is nothing to compare
    series = requested + await _other_series(database, requested, hours.count) if requested else []
    dependencies.add_series(each.id for each in series)
    parts = await read_windows(
        database,
        Granularity.HOUR,
        [hours.window_of(each) for each in series],
        columns=frozenset({"price"}),
    )
    stored = [None if part is None else part[1] for part in parts]
    return await searches.run(_search, series, len(requested), stored, hours, threshold)


def _check_threshold(threshold: float) -> None:
    if not LEAST_THRESHOLD <= threshold <= MOST_THRESHOLD:
        raise BadInputError(
            f"`threshold` must be between {LEAST_THRESHOLD} and {MOST_THRESHOLD:,} deviations, "
            f"not {threshold:g}."
        )


def _hours(start: datetime, end: datetime, window: int) -> _Hours:
    first, behind = (-((_EPOCH - edge) // _HOUR) for edge in (start, end))
    return _Hours(_EPOCH + first * _HOUR, max(0, behind - first), window)


def _check_size(series: int, hours: int) -> None:
    if hours > MOST_POINTS:
        raise RangeTooLargeError(
            f"The range has {hours:,} hours, more than {MOST_POINTS:,}: request a part of it."
        )
    if series * hours > MOST_CELLS:
        raise RangeTooLargeError(
            f"{series:,} series over {hours:,} hours are {series * hours:,} prices, more than "
            f"{MOST_CELLS:,}: request fewer `coins` or `currencies`, or a part of the range."
        )


async def _other_series(
    database: Database, requested: Sequence[SeriesFacts], hours: int
) -> list[SeriesFacts]:
    """Return all other stored series, or none if all together would exceed MOST_CELLS."""
    most = MOST_CELLS // max(1, hours)
    series = await list_series(database, None, None, limit=most + 1)
    ids = {each.id for each in requested}
    return [] if len(series) > most else [each for each in series if each.id not in ids]


def _search(
    series: Sequence[SeriesFacts],
    requested: int,
    stored: Sequence[SeriesColumns | None],
    hours: _Hours,
    threshold: float,
) -> Anomalies:
    start = np.datetime64(hours.read_from.replace(tzinfo=None), "us")
    length = np.timedelta64(_HOUR)
    prices = np.full((len(series), hours.before + hours.count + 1), np.nan)
    for row, columns in enumerate(stored):
        if columns is not None and columns.price is not None:
            prices[row, (columns.timestamps - start) // length] = columns.price
    matrix = Matrix(prices, _numbered(series), requested, hours.before, hours.before + hours.count)
    found = find(matrix, threshold, hours.window)
    if len(found) > MOST_ANOMALIES:
        raise RangeTooLargeError(
            f"There are {len(found):,} anomalies, more than {MOST_ANOMALIES:,}: use a higher "
            "`threshold`, fewer `coins` or `currencies`, or a part of the range."
        )
    return Anomalies(
        findings=found,
        series=series[:requested],
        timestamps=start + found.column * length,
        price=prices[found.row, found.column],
        before=prices[found.row, found.column - 1],
    )


def _numbered(series: Sequence[SeriesFacts]) -> Ints:
    numbers: dict[str, int] = {}
    return np.array(
        [numbers.setdefault(each.currency_code, len(numbers)) for each in series], dtype=np.int64
    )

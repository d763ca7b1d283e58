"""The types of `anomalies`: objects for GraphQL, stored as columns."""

from collections.abc import Callable
from enum import Enum
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import strawberry
from strawberry.utils.str_converters import to_snake_case

from resolvers.analysis.anomalies import Anomalies
from resolvers.analysis.outliers import SCOPES
from schema.columnar.encoding import Column
from schema.columnar.lists import ColumnarList
from schema.scalars import DateTime, render_times


@strawberry.enum(description="The direction in which a price moved.")
class AnomalyDirection(Enum):
    """The direction of a move."""

    UP = strawberry.enum_value("UP", description="The return was higher than expected.")
    DOWN = strawberry.enum_value("DOWN", description="The return was lower than expected.")


@strawberry.enum(
    description="The likely cause of an anomaly: the first value in this list whose condition "
    "holds. A coin moves alike if, in the same hour, its log return lies more than half of "
    "`threshold` deviations from the median of its own window, in the same direction. The "
    "comparison covers all stored coins and currencies, also those not requested. If they have "
    "more than 500,000 prices (series × hours), it covers only the requested ones."
)
class AnomalyScope(Enum):
    """The likely cause of an anomaly, in order of precedence."""

    UPSTREAM = strawberry.enum_value(
        "UPSTREAM",
        description="Probably an error of the data source, not a price move. Either the price was "
        "back one hour later, with at most a quarter of the jump left (the jump and the way back "
        "are both marked), or it moved after it had been constant over the whole window. The "
        "newest hour can become UPSTREAM when the next hour arrives.",
    )
    MARKET = strawberry.enum_value(
        "MARKET",
        description="The market moved: in more than half of the currencies, more than half of the "
        "coins (and at least 2) moved alike. If only one currency is stored, that one decides.",
    )
    CURRENCY = strawberry.enum_value(
        "CURRENCY",
        description="The currency moved: in this currency, more than half of the coins (and at "
        "least 2) moved alike, but not in most currencies.",
    )
    COIN = strawberry.enum_value(
        "COIN", description="The coin moved on its own: no other condition holds."
    )


@strawberry.type(
    description="An hour whose return is an outlier against the preceding window. Anomalies are "
    "reported only: no series leaves them out or changes them."
)
class Anomaly:
    """One anomaly."""

    timestamp: DateTime = strawberry.field(description="The start of the hour.")
    coin: strawberry.ID = strawberry.field(description="The coin's id, for example `bitcoin`.")
    currency: strawberry.ID = strawberry.field(
        description="The currency's code, for example `usd`."
    )
    price: float = strawberry.field(description="The hour's price, in units of the currency.")
    change_percent: float = strawberry.field(
        description="The change against the price of the hour before, in percent: 5 means 5 %."
    )
    log_return: float = strawberry.field(
        description="The same change as a log return: ln(price / price of the hour before)."
    )
    expected_log_return: float = strawberry.field(
        description="The expected log return: the median of the log returns in the window."
    )
    score: float = strawberry.field(
        description="The distance between `logReturn` and `expectedLogReturn` in robust "
        "deviations, always positive. A robust deviation is 1.4826 × the median absolute "
        "deviation (MAD) of the window. If the MAD is 0, because more than half of the log "
        "returns are equal, it is 1.2533 × their mean absolute deviation. It is at least 0.000001."
    )
    direction: AnomalyDirection = strawberry.field(
        description="The direction in which the price moved."
    )
    scope: AnomalyScope = strawberry.field(description="The likely cause of the move.")
    coins_alike: int = strawberry.field(
        description="The number of coins that moved alike in this currency and hour, this one "
        "included."
    )
    coins_compared: int = strawberry.field(
        description="The number of coins with enough data to be compared in this currency and hour."
    )


Threshold = Annotated[
    float,
    strawberry.argument(
        description="The minimum distance from the expected return, in robust deviations: 1 to "
        "1,000,000. A lower threshold finds more."
    ),
]
AnomalyWindow = Annotated[
    int,
    strawberry.argument(
        description="The number of hours before each hour that define the expected return: 3 to "
        "168. Hours before `from` are read for this. An hour is evaluated only if at least half "
        "of the log returns in its window are known. Cost: 2 for each price read, 1 more for "
        "every 32 hours of the window, and 800 for each series. The default cost limit of "
        "1,500,000 allows 500,000 prices of 50 series with a window below 32 hours, and 170,000 "
        "to 190,000 prices with a window of 168 hours, depending on the selected fields."
    ),
]


class AnomalyList(ColumnarList[Anomaly]):
    """The anomalies of a response, sorted by time, then by descending score."""

    def __init__(self, answer: Anomalies) -> None:
        self._answer = answer

    def __len__(self) -> int:
        return len(self._answer.findings)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._anomalies[index]

    def column(self, field: str) -> Column | None:
        """Return the JSON values of a field; None for an unknown field."""
        return _COLUMNS[field](self._answer) if field in _COLUMNS else None

    @cached_property
    def _anomalies(self) -> list[Anomaly]:
        columns = [render(self._answer) for render in _COLUMNS.values()]
        names = [to_snake_case(field) for field in _COLUMNS]
        return [_anomaly(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _anomaly(values: dict[str, Any]) -> Anomaly:
    direction, scope = values.pop("direction"), values.pop("scope")
    return Anomaly(direction=AnomalyDirection[direction], scope=AnomalyScope[scope], **values)


def _names(name: str) -> Callable[[Anomalies], Column]:
    return lambda answer: [
        getattr(answer.series[row], name) for row in answer.findings.row.tolist()
    ]


def _found(name: str) -> Callable[[Anomalies], Column]:
    return lambda answer: getattr(answer.findings, name).tolist()


_SCOPE_NAMES = np.array([scope.value for scope in SCOPES], dtype=object)
_COLUMNS: dict[str, Callable[[Anomalies], Column]] = {
    "timestamp": lambda answer: render_times(answer.timestamps),
    "coin": _names("coin_id"),
    "currency": _names("currency_code"),
    "price": lambda answer: answer.price.tolist(),
    "changePercent": lambda answer: ((answer.price - answer.before) / answer.before * 100).tolist(),
    "logReturn": _found("log_return"),
    "expectedLogReturn": _found("expected"),
    "score": _found("score"),
    "direction": lambda answer: np.where(answer.findings.up, "UP", "DOWN").tolist(),
    "scope": lambda answer: _SCOPE_NAMES[answer.findings.scope].tolist(),
    "coinsAlike": _found("alike"),
    "coinsCompared": _found("judged"),
}

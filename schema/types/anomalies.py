"""Anomalies, as clients see them: objects to GraphQL, columns underneath."""

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


@strawberry.enum(description="To which side a price moved.")
class AnomalyDirection(Enum):
    UP = strawberry.enum_value("UP", description="Higher than its last hours let expect.")
    DOWN = strawberry.enum_value("DOWN", description="Lower than its last hours let expect.")


@strawberry.enum(
    description="Who moved. The first of these that holds. A coin has moved alike where its log "
    "return lies more than half of `threshold` deviations from its own window's median, to the "
    "same side in the same hour. Compared are all coins and currencies that are kept, whichever "
    "are asked for; beyond 500,000 prices (series × hours) only those asked for."
)
class AnomalyScope(Enum):
    UPSTREAM = strawberry.enum_value(
        "UPSTREAM",
        description="Probably the source, not the price: it was back one hour later, at most a "
        "quarter of the jump left (this marks the jump and the way back), or it moved after it had "
        "stood still for the whole window. The newest hour can become UPSTREAM with the next one.",
    )
    MARKET = strawberry.enum_value(
        "MARKET",
        description="In more than half of the currencies, more than half of the coins (and at "
        "least 2) moved alike. Where only one currency is kept, it stands for all.",
    )
    CURRENCY = strawberry.enum_value(
        "CURRENCY",
        description="In this currency more than half of the coins (and at least 2) moved alike, "
        "but not in most currencies: the currency itself moved.",
    )
    COIN = strawberry.enum_value("COIN", description="None of these: this coin moved by itself.")


@strawberry.type(
    description="An hour whose price moved as the hours before it gave no reason to expect. It is "
    "told, and never left out of or altered in any series."
)
class Anomaly:
    timestamp: DateTime = strawberry.field(description="When the hour begins.")
    coin: strawberry.ID = strawberry.field(description="The coin's id.")
    currency: strawberry.ID = strawberry.field(description="The currency's code.")
    price: float = strawberry.field(description="The hour's price.")
    change_percent: float = strawberry.field(
        description="Its change from the hour before, in percent."
    )
    log_return: float = strawberry.field(
        description="The same as a log return: ln(price / price of the hour before)."
    )
    expected_log_return: float = strawberry.field(
        description="What the window expects: the median of its log returns."
    )
    score: float = strawberry.field(
        description="By how many robust deviations `logReturn` differs from `expectedLogReturn`, "
        "without a sign. A deviation is 1.4826 × the median absolute deviation (MAD) of the "
        "window; where that is 0, as more than half of the log returns are equal, 1.2533 × their "
        "mean absolute deviation; and at least 0.000001."
    )
    direction: AnomalyDirection = strawberry.field(description="To which side it moved.")
    scope: AnomalyScope = strawberry.field(description="Who moved with it.")
    coins_alike: int = strawberry.field(
        description="How many coins moved alike in this currency and hour, this one among them."
    )
    coins_compared: int = strawberry.field(
        description="How many coins could be judged in this currency and hour."
    )


Threshold = Annotated[
    float,
    strawberry.argument(
        description="How many robust deviations are too many: 1 to 1,000,000. Lower finds more."
    ),
]
AnomalyWindow = Annotated[
    int,
    strawberry.argument(
        description="How many hours before each one tell what to expect: 3 to 168. Hours before "
        "`from` are looked at for it. An hour is judged where at least half of their log returns "
        "are known. Each price that is looked at costs 2, and 1 more for each 32 hours, and each "
        "series 800: what an operation may cost (1,500,000 unless the server is set otherwise) is "
        "enough for 500,000 prices of 50 series below 32 hours, and for 170,000 to 190,000, by how "
        "many fields are asked for, with 168."
    ),
]


class AnomalyList(ColumnarList[Anomaly]):
    """The anomalies of an answer, by time and then by falling score."""

    def __init__(self, answer: Anomalies) -> None:
        self._answer = answer

    def __len__(self) -> int:
        return len(self._answer.findings)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - Sequence's own overloads
        return self._anomalies[index]

    def column(self, field: str) -> Column | None:
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

"""The columns of anomalies equal the anomalies as objects."""

import asyncio
from typing import Any, cast

import numpy as np
import orjson
import pytest
import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from models.series import SeriesFacts
from resolvers.analysis.anomalies import Anomalies
from resolvers.analysis.outliers import SCOPES, Findings
from schema.execution.columnar import ColumnarExecutor
from schema.scalars import SCALARS
from schema.types.anomalies import Anomaly, AnomalyList
from tests.resolvers.price_answers import times_of

FIELDS = (
    "timestamp coin currency price changePercent logReturn expectedLogReturn score direction "
    "scope coinsAlike coinsCompared __typename"
)


def anomalies(count: int) -> AnomalyList:
    dice = np.random.default_rng(1)
    findings = Findings(
        row=np.arange(count) % 2,
        column=np.arange(count) + 30,
        log_return=dice.normal(size=count),
        expected=dice.normal(size=count),
        score=dice.uniform(4, 9, size=count),
        up=dice.random(count) > 0.5,
        scope=np.arange(count) % len(SCOPES),
        alike=dice.integers(1, 5, size=count),
        judged=dice.integers(5, 9, size=count),
    )
    series = [
        SeriesFacts(n, f"coin-{n}", code, 1, None, None) for n, code in enumerate(("usd", "eur"))
    ]
    prices = dice.uniform(1e-12, 1e12, size=(2, count))
    times = times_of(range(count))
    return AnomalyList(Anomalies(findings, series, times, prices[0], prices[1]))


def answer(found: AnomalyList, executor: type[Any], query: str) -> bytes:
    @strawberry.type
    class Query:
        @strawberry.field
        def anomalies(self) -> list[Anomaly]:
            return cast("list[Anomaly]", found)

    schema = strawberry.Schema(
        query=Query,
        config=StrawberryConfig(scalar_map=SCALARS),
        execution_context_class=executor,
    )
    result = asyncio.run(schema.execute(query))
    assert result.errors is None
    return orjson.dumps(result.data)


@pytest.mark.parametrize("count", [0, 1, 9, 700])
def test_both_paths_give_the_same_result(count: int) -> None:
    query = f"{{ anomalies {{ {FIELDS} }} }}"
    found = anomalies(count)
    ordinary = answer(found, StrawberryGraphQLCoreExecutionContext, query)
    assert answer(found, ColumnarExecutor, query) == ordinary
    assert len(orjson.loads(ordinary)["anomalies"]) == count


def test_the_fast_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def walked(*_: object) -> None:
        raise AssertionError("the list was walked")

    monkeypatch.setattr(AnomalyList, "__getitem__", walked)
    result = orjson.loads(answer(anomalies(3), ColumnarExecutor, f"{{ anomalies {{ {FIELDS} }} }}"))
    assert [row["scope"] for row in result["anomalies"]] == ["UPSTREAM", "MARKET", "CURRENCY"]

"""What is computed from prices, on real ones: recordings of CoinGecko, gaps and all."""

import math
from datetime import datetime, timedelta
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from models.prices.granularity import Granularity
from resolvers.analysis.downsampling import choose
from resolvers.analysis.moving_averages import exponential_average, simple_average
from resolvers.analysis.outliers import SCOPES, Matrix, find
from resolvers.analysis.statistics import summary
from tests.conftest import shared_folder
from tests.resolvers import reference_anomalies
from tests.resolvers.price_answers import numbers_of
from tests.test_recordings import EPOCH, by_hour, recorded

SERIES = [("bitcoin", "usd"), ("bitcoin", "eur"), ("nym", "usd"), ("nym", "eur")]
Hours = dict[datetime, float]


def hours_of(coin: str, currency: str) -> Hours:
    folder = shared_folder()
    if folder is None:
        pytest.skip("the recordings are not next to this checkout")
    chart = recorded(folder, coin, currency)
    samples = {name: dict(points) for name, points in chart.items()}
    return {hour: price for hour, (_, price, *_) in sorted(by_hour(samples).items())}


def near(value: float) -> Any:
    return pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize(("coin", "currency"), SERIES)
def test_statistics(coin: str, currency: str) -> None:
    hours = hours_of(coin, currency)
    times = np.array([at.replace(tzinfo=None) for at in hours], dtype="datetime64[us]")
    prices = list(hours.values())
    found = summary(times, numbers_of(prices), Granularity.HOUR)
    assert (found.count, found.mean) == (len(prices), near(fmean(prices)))
    assert found.standard_deviation == near(stdev(prices))
    hour = timedelta(hours=1)
    returns = [math.log(p / hours[at - hour]) for at, p in hours.items() if at - hour in hours]
    assert len(returns) < len(prices) - 1, "the recordings have gaps"
    assert found.volatility == near(stdev(returns) * math.sqrt(8760))
    highest, deepest = 0.0, 0.0
    for price in prices:
        highest = max(highest, price)
        deepest = max(deepest, 1 - price / highest)
    assert found.maximum_drawdown is not None
    assert found.maximum_drawdown.percent == near(deepest * 100)
    assert found.minimum is not None
    assert hours[found.minimum.at] == found.minimum.price == min(prices)


@pytest.mark.slow
@pytest.mark.parametrize(("coin", "currency"), SERIES)
@pytest.mark.parametrize("window", [24, 168])
def test_averages(coin: str, currency: str, window: int) -> None:
    prices = list(hours_of(coin, currency).values())
    simple = simple_average(numbers_of(prices), window).tolist()
    average = fmean(prices[:window])
    exponential = [average]
    for price in prices[window:]:
        average += 2 / (window + 1) * (price - average)
        exponential.append(average)
    assert all(math.isnan(value) for value in simple[: window - 1])
    ends = range(window, len(prices) + 1)
    assert simple[window - 1 :] == [near(fmean(prices[end - window : end])) for end in ends]
    found = exponential_average(numbers_of(prices), window).tolist()
    assert found[window - 1 :] == [near(value) for value in exponential]


@pytest.mark.parametrize(("coin", "currency"), SERIES)
def test_fewer_points(coin: str, currency: str) -> None:
    hours = hours_of(coin, currency)
    times = np.array([at.replace(tzinfo=None) for at in hours], dtype="datetime64[us]")
    prices = list(hours.values())
    places = choose(times, numbers_of(prices), 100).tolist()
    assert (places[0], places[-1]) == (0, len(prices) - 1)
    assert 98 <= len(places) <= 100
    assert sorted(set(places)) == places
    assert {min(prices), max(prices)} <= {prices[place] for place in places}


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "window"), [(4.0, 24), (3.0, 12)])
@pytest.mark.parametrize("coin", ["bitcoin", "nym"])
def test_anomalies(coin: str, threshold: float, window: int) -> None:
    """Of one coin in two currencies, and where both were recorded at once."""
    currencies = ["eur", "usd"]
    hour = timedelta(hours=1)
    prices = {
        (coin, currency): {(at - EPOCH) // hour: p for at, p in hours_of(coin, currency).items()}
        for currency in currencies
    }
    first = min(map(min, prices.values())) - window - 2
    table = np.full((2, max(map(max, prices.values())) + 2 - first), math.nan)
    for row, hours in enumerate(prices.values()):
        table[row, np.array(list(hours)) - first] = list(hours.values())
    matrix = Matrix(table, np.arange(2), 2, window + 2, table.shape[1] - 1)
    found = find(matrix, threshold, window)
    expected = reference_anomalies.anomalies(
        prices, range(first + window + 2, first + table.shape[1] - 1), threshold, window
    )
    assert [
        (first + column, currencies[row], SCOPES[scope].value)
        for row, column, scope in zip(
            found.row.tolist(), found.column.tolist(), found.scope.tolist(), strict=True
        )
    ] == [(row["hour"], row["currency"], row["scope"]) for row in expected]
    assert found.score.tolist() == [near(row["score"]) for row in expected]
    assert len(expected) > 10

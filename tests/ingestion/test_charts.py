"""What upstream may answer to a question for a chart, and what becomes of it."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion import answers
from ingestion.errors import (
    BadAnswer,
)
from ingestion.samples import Chart, Samples
from tests.ingestion.json_values import MS, NOW, json_values

numbers = st.none() | st.integers() | st.floats()


points = st.lists(st.lists(numbers | st.integers(MS - 10**9, MS), min_size=2, max_size=2))


def chart(answer: object) -> Chart:
    return answers.chart(answer, NOW)


def test_a_chart_keeps_order_nulls_and_unequal_lengths() -> None:
    result = chart(
        {
            "prices": [[MS - 2000, 1.5], [MS - 3000, None], [MS - 1000, 2]],
            "market_caps": [[MS - 2000, 0.0], [MS - 1000, -1.0]],
            "total_volumes": None,
        }
    )
    assert result.prices.times.tolist() == [MS - 2000, MS - 3000, MS - 1000]
    np.testing.assert_array_equal(result.prices.values, [1.5, np.nan, 2.0])
    np.testing.assert_array_equal(result.market_caps.values, [0.0, np.nan])
    assert result.volumes.times.size == result.volumes.values.size == 0
    assert result.prices.times.dtype == np.int64
    assert result.prices.values.dtype == np.float64


def test_missing_and_empty_arrays_are_empty() -> None:
    result = chart({"prices": []})
    assert [len(part.times) for part in (result.prices, result.market_caps, result.volumes)] == [
        0,
        0,
        0,
    ]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "prices",
        3,
        {},
        {"prices": None},
        {"prices": {}},
        {"prices": [1, 2]},
        {"prices": [[MS]]},
        {"prices": [[MS, 1, 2]]},
        {"prices": [[MS, 1], [MS]]},
        {"prices": [{"0": MS, "1": 2}]},
        {"prices": ["ab"]},
        {"prices": [[MS, "1.5"]]},
        {"prices": [[str(MS), 1.5]]},
        {"prices": [[MS, True]]},
        {"prices": [[True, 1.0]]},
        {"prices": [[None, 1.0]]},
        {"prices": [[MS, [1.0]]]},
        {"prices": [[MS, math.inf]]},
        {"prices": [[MS, 1.1e100]]},
        {"prices": [[MS, -1.7e308]]},
        {"prices": [[MS, -math.inf]]},
        {"prices": [[MS, 10**400]]},
        {"prices": [[10**400, 1.0]]},
        {"prices": [[MS // 1000, 1.0], [MS // 1000 + 1, 1.0]]},
        {"prices": [[MS, 1.0]], "market_caps": 5},
        {"prices": [[MS, 1.0]], "total_volumes": [[MS, "x"]]},
    ],
)
def test_what_is_no_chart_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer) as caught:
        chart(answer)
    assert len(str(caught.value)) < 100


def test_stray_times_are_dropped() -> None:
    day = 86_400_000
    times = [0, -5, 2**53 + 1, 2**63, 1e300, MS - 1, MS + day, MS + day + 1, 1230768000000 - 1]
    result = chart({"prices": [[time, place] for place, time in enumerate(times)]})
    assert result.prices.times.tolist() == [MS - 1, MS + day]
    assert result.prices.values.tolist() == [5, 6]


def test_numbers_too_large_for_json_are_refused_not_retried() -> None:
    with pytest.raises(BadAnswer):
        chart(answers.decode(b'{"prices": [[%d, 1e400]]}' % MS))
    with pytest.raises(BadAnswer):
        chart(answers.decode(b'{"prices": [[%d, %s]]}' % (MS, b"9" * 1000)))


def test_what_is_too_small_for_a_price_is_as_good_as_null() -> None:
    values = [5e-324, 0.9e-100, 1e-100, 0.0, 1e-12, 1e12, 1e100]
    found = chart({"prices": [[MS, value] for value in values]}).prices.values
    np.testing.assert_array_equal(found, [np.nan, np.nan, *values[2:]])


def test_nan_is_as_good_as_null() -> None:
    result = chart(answers.decode(b'{"prices": [[%d, NaN], [NaN, 1]]}' % MS))
    assert result.prices.times.tolist() == [MS]
    assert np.isnan(result.prices.values).all()


def _is_sound(samples: Samples) -> bool:
    return (
        samples.times.dtype == np.int64
        and samples.values.dtype == np.float64
        and samples.times.shape == samples.values.shape
        and not np.isinf(samples.values).any()
        and not ((samples.values < 1e-100) & (samples.values != 0)).any()
        and not (samples.values > 1e100).any()
        and bool(((samples.times > 1.2e12) & (samples.times <= MS + 86_400_000)).all())
    )


@given(
    json_values
    | st.fixed_dictionaries(
        {"prices": points},
        optional={"market_caps": points | json_values, "total_volumes": points | json_values},
    )
)
@example({"prices": [[MS, 2**1023 * 3]]})
def test_any_json_gives_a_sound_chart_or_bad_answer(answer: object) -> None:
    try:
        result = chart(answer)
    except BadAnswer:
        return
    assert all(map(_is_sound, (result.prices, result.market_caps, result.volumes)))


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'"\\ud800"')
@example(b"9" * 10_000)
def test_any_bytes_are_json_or_a_value_error(body: bytes) -> None:
    try:
        answer = answers.decode(body)
    except ValueError:
        return
    for read in (
        chart,
        answers.prices,
        answers.listing,
        answers.greeting,
        lambda value: answers.profile(value, "x"),
    ):
        try:
            read(answer)
        except BadAnswer as error:
            str(error).encode()

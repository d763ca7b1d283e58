"""What upstream may answer to a question for a chart, and what becomes of it."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.coingecko import charts, parsing
from ingestion.coingecko.errors import BadAnswer
from ingestion.coingecko.types import Chart, Dropped, Samples
from tests.ingestion.json_values import MS, NOW, json_values

numbers = st.none() | st.integers() | st.floats()


points = st.lists(st.lists(numbers | st.integers(MS - 10**9, MS), min_size=2, max_size=2))


def chart(answer: object) -> Chart:
    return charts.chart(answer, NOW)


def test_a_chart_keeps_order_nulls_and_unequal_lengths() -> None:
    result = chart(
        {
            "prices": [[MS - 2000, 1.5], [MS - 3000, None], [MS - 1000, 2]],
            "market_caps": [[MS - 2000, 0.0], [MS - 1000, None]],
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
        {"prices": [[MS, 1], [MS], [MS - 1]]},
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
    ],
)
def test_what_is_no_chart_is_refused(answer: object) -> None:
    with pytest.raises(BadAnswer) as caught:
        chart(answer)
    assert len(str(caught.value)) < 100


def test_stray_times_are_dropped_and_counted() -> None:
    five_minutes = 300_000
    times = [
        0, -5, 1230768000000 - 1, 1e300, MS + five_minutes, MS + five_minutes + 1, MS + 72_000_000,
        MS - 1, MS - 2, MS - 3, MS - 4, MS - 5, MS - 6,
    ]  # fmt: skip
    result = chart({"prices": [[time, place] for place, time in enumerate(times)]})
    assert result.prices.times.tolist() == [MS + five_minutes, *times[-6:]]
    assert result.prices.values.tolist() == [4, *range(7, 13)]
    assert (result.dropped.prices, result.dropped.ahead) == (3, 3)


def test_numbers_too_large_for_json_are_refused_not_retried() -> None:
    with pytest.raises(BadAnswer):
        chart(parsing.decode(b'{"prices": [[%d, 1e400]]}' % MS))
    with pytest.raises(BadAnswer):
        chart(parsing.decode(b'{"prices": [[%d, %s]]}' % (MS, b"9" * 1000)))


def test_what_is_too_small_for_a_price_is_dropped() -> None:
    values = [5e-324, 0.9e-100, -1.0, 1e-100, 0.0, 1e-12, 1e12, 1e100]
    result = chart({"prices": [[MS, value] for value in values]})
    assert result.prices.values.tolist() == values[3:]
    assert result.dropped == Dropped(prices=3)


def test_nan_is_no_price() -> None:
    result = chart(parsing.decode(b'{"prices": [[%d, NaN], [NaN, 1], [1, 2], [%d, 2], [%d, 3], '
                                  b'[%d, null]]}' % (MS, MS, MS, MS)))  # fmt: skip
    np.testing.assert_array_equal(result.prices.values, [2.0, 3.0, np.nan])
    assert result.dropped == Dropped(prices=3)


# What a point of an array has been seen to be, or might be.
MALFORMED = [
    [MS], [MS, 5, 6], [], {}, "123.4", True, 1e101, None, 5, [None, 1.0], [str(MS), 1.0],
    [MS, "123.4"], [MS, True], [MS, [1.0]], [MS, {}], [MS, -1.0], [MS, 1e101], [MS, 10**400],
    [MS, 5e-324], [True, 1.0], [[MS], 1.0], [10**400, 1.0], [MS // 1000, 1.0], [0, 1.0], [-MS, 1.0],
    [[MS, 1.0]], {"0": MS, "1": 1.0},
]  # fmt: skip
AHEAD = [[MS * 1000, 1.0], [MS + 300_001, 1.0], [2**53, 1.0]]
SOUND = [[MS - 3_600_000 * back, float(back)] for back in range(3)]


@pytest.mark.parametrize("name", ["market_caps", "total_volumes"])
@pytest.mark.parametrize("bad", [*MALFORMED, *AHEAD], ids=repr)
def test_a_malformed_extra_costs_no_price(name: str, bad: object) -> None:
    for points in ([*SOUND, bad], [bad], [bad] * 5, [SOUND[0], bad, *SOUND[1:]]):
        result = chart({"prices": SOUND, name: points})
        assert result.prices.values.tolist() == [0.0, 1.0, 2.0]
        extra = result.market_caps if name == "market_caps" else result.volumes
        assert extra.values.tolist() == [value for _, value in SOUND if [_, value] in points]
        lost = points.count(bad)
        expected = Dropped(ahead=lost) if bad in AHEAD else (
            Dropped(market_caps=lost) if name == "market_caps" else Dropped(volumes=lost)
        )  # fmt: skip
        assert result.dropped == expected


@pytest.mark.parametrize("array", [{}, {"0": [MS, 1.0]}, "123.4", True, False, 5, 1e101, "", 0])
def test_extras_that_are_no_list_cost_no_price(array: object) -> None:
    result = chart({"prices": SOUND, "market_caps": array, "total_volumes": array})
    assert result.prices.values.tolist() == [0.0, 1.0, 2.0]
    assert len(result.market_caps.times) == len(result.volumes.times) == 0
    assert result.dropped == Dropped(market_caps=1, volumes=1)


@pytest.mark.parametrize("bad", [*MALFORMED, *AHEAD], ids=repr)
def test_a_malformed_price_costs_no_other_price(bad: object) -> None:
    result = chart({"prices": [SOUND[0], bad, *SOUND[1:], bad, bad]})
    assert result.prices.values.tolist() == [0.0, 1.0, 2.0]
    assert result.dropped == (Dropped(ahead=3) if bad in AHEAD else Dropped(prices=3))
    with pytest.raises(BadAnswer, match="4 of 7 points"):
        chart({"prices": [*SOUND, bad, bad, bad, bad]})


def test_a_chart_with_extra_keys_is_not_an_error_body() -> None:
    for more in ({"error": "x"}, {"status": {"error_code": 429}}):
        body = json.dumps({"prices": SOUND, **more}).encode()
        assert len(chart(parsing.decode(body)).prices.times) == 3


def test_an_integer_that_python_refuses_to_parse_costs_no_price() -> None:
    body = json.dumps({"prices": SOUND}).encode()[:-1] + b',"market_caps":[[%d,%s]]}' % (
        MS, b"9" * 5000,
    )  # fmt: skip
    assert len(chart(parsing.decode(body)).prices.times) == 3


@pytest.mark.slow
@given(
    st.lists(json_values, max_size=9),
    st.lists(st.integers(0, 9), min_size=9, max_size=9),
    st.dictionaries(
        st.sampled_from(["market_caps", "total_volumes", "error", "status"]),
        json_values | st.lists(st.sampled_from(SOUND) | json_values, max_size=9),
    ),
)
def test_any_json_anywhere_costs_no_sound_price(
    strangers: list[object], places: list[int], others: dict[str, object]
) -> None:
    sound = [[MS - 1000 * back, 1.0 + back] for back in range(10)]
    prices: list[object] = list(sound)
    for stranger, place in zip(strangers, places, strict=False):
        prices.insert(place, stranger)
    body = json.dumps({**others, "prices": prices}).encode()
    found = chart(parsing.decode(body)).prices
    stored = dict(zip(found.times.tolist(), found.values.tolist(), strict=True))
    assert all(stored[at] == value for at, value in sound)


def _is_sound(samples: Samples) -> bool:
    return (
        samples.times.dtype == np.int64
        and samples.values.dtype == np.float64
        and samples.times.shape == samples.values.shape
        and not np.isinf(samples.values).any()
        and not ((samples.values < 1e-100) & (samples.values != 0)).any()
        and not (samples.values > 1e100).any()
        and bool(((samples.times > 1.2e12) & (samples.times <= MS + 300_000)).all())
    )


@pytest.mark.slow
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
        answer = parsing.decode(body)
    except ValueError:
        return
    for read in (
        chart,
        parsing.prices,
        parsing.listing,
        parsing.greeting,
        lambda value: parsing.profile(value, "x"),
    ):
        try:
            read(answer)
        except BadAnswer as error:
            str(error).encode()

"""What did not come: since when, how often, and when it is asked for again, whatever was asked."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.prices.gaps import (
    CONFIRMED_ANSWERS,
    DAY_MICROS,
    GAP_ROW,
    HOUR_MICROS,
    AskedRange,
    confirmed,
    count_asked,
    covers,
    evidence,
    missing_micros,
    next_asks,
    times_in,
)
from models.prices.hours import Rows, instant, micros
from tests.models.storing import DAY, HOUR, NOON

NOTHING = np.empty(0, GAP_ROW)
NONE = np.empty(0, np.int64)
_SPAN = 40
_edges = st.integers(0, _SPAN * 60)  # minutes after NOON
_asks = st.lists(st.tuples(_edges, _edges, st.booleans()), max_size=4)
_minutes = st.sampled_from([0, 1, 59, 60, 61, 600, 10_000])
_steps = st.tuples(_minutes, _asks, st.sets(st.integers(0, _SPAN), max_size=15))


@dataclass(frozen=True)
class Silence:
    """What is to be known of one missing hour."""

    since: datetime
    at: datetime
    asked: int
    answered: int

    def again(self, at: datetime, *, answered: bool) -> "Silence":
        if at - self.at < HOUR:
            return self
        return replace(self, at=at, asked=self.asked + 1, answered=self.answered + answered)


def by_hour(gaps: Rows) -> dict[int, Silence]:
    """Give what is known of each missing hour, in hours after NOON."""
    found: dict[int, Silence] = {}
    for row in gaps:
        known = Silence(
            instant(row["asked_since"]),
            instant(row["asked_at"]),
            int(row["asked"]),
            int(row["answered"]),
        )
        for at in times_in(row[np.newaxis]).tolist():
            hour = (at - micros(NOON)) // HOUR_MICROS
            assert hour not in found
            found[hour] = known
    return found


@pytest.mark.slow
@given(st.lists(_steps, min_size=1, max_size=6))
def test_each_missing_hour_is_counted_by_time(
    steps: list[tuple[int, list[tuple[int, int, bool]], set[int]]],
) -> None:
    gaps, expected, stored, at = NOTHING, dict[int, Silence](), set[int](), NOON + DAY
    for minutes, ranges, came in steps:
        at += timedelta(minutes=minutes)
        stored |= came
        asked = [
            AskedRange(
                NOON + (min(a, b) // 60) * HOUR, NOON + max(a, b) * timedelta(minutes=1), at, each
            )
            for a, b, each in ranges
        ]
        for ask in asked:
            for hour in range(_SPAN + 1):
                if ask.start <= NOON + hour * HOUR and NOON + (hour + 1) * HOUR <= ask.end:
                    known = expected.get(hour)
                    expected[hour] = (
                        known.again(at, answered=ask.answered)
                        if known
                        else Silence(at, at, 1, int(ask.answered))
                    )
        expected = {hour: each for hour, each in expected.items() if hour not in stored}
        present = np.array([micros(NOON + hour * HOUR) for hour in sorted(stored)], np.int64)
        gaps = count_asked(gaps, asked, present)
        assert by_hour(gaps) == expected
        # neighbours differ, or they would be one
        for one, other in pairwise(gaps.tolist()):
            assert one[1] < other[0] or (one[1] == other[0] and one[2:] != other[2:])


def test_days_are_counted_as_days() -> None:
    midnight = NOON + 12 * HOUR
    asked = AskedRange(NOON, NOON + 5 * DAY, NOON + 6 * DAY)
    present = np.array([micros(midnight + DAY)], np.int64)
    gaps = count_asked(NOTHING, [asked], present, DAY_MICROS)
    assert [(instant(a), instant(b)) for a, b, *_ in gaps.tolist()] == [
        (midnight, midnight + DAY),
        (midnight + 2 * DAY, midnight + 4 * DAY),
    ]
    assert times_in(gaps, DAY_MICROS).tolist() == [
        micros(midnight + number * DAY) for number in (0, 2, 3)
    ]


def test_nothing_asked_is_nothing_missing() -> None:
    assert len(count_asked(NOTHING, [], NONE)) == 0
    assert len(times_in(NOTHING)) == 0
    found = evidence(NOTHING, np.array([0]), np.array([HOUR_MICROS]), 0)
    assert (found.times.tolist(), found.upstream.tolist()) == ([0], [False])


def silent(lasted: timedelta, answered: int = 99, hours: int = 1) -> Rows:
    """Make a gap of so many hours after NOON that was first asked for at NOON."""
    row = (0, hours * HOUR_MICROS, answered, answered, 0, lasted // timedelta(microseconds=1))
    rows = np.array([row], GAP_ROW)
    for name in ("starts", "ends", "asked_since", "asked_at"):
        rows[name] += micros(NOON)
    return rows


@pytest.mark.parametrize(
    ("lasted", "pause"),
    [
        (timedelta(0), timedelta(0)),
        (HOUR - timedelta(seconds=1), timedelta(0)),
        (HOUR, 6 * HOUR),
        (DAY - timedelta(seconds=1), 6 * HOUR),
        (DAY, DAY),
        (6.9 * DAY, DAY),
        (7 * DAY, 3 * DAY),
        (28 * DAY, 7 * DAY),
        (90 * DAY, 7 * DAY),
        (91 * DAY, 28 * DAY),
        (4000 * DAY, 28 * DAY),  # never never
    ],
)
@pytest.mark.parametrize("asked", [1, 3, 1000])
def test_gaps_are_requested_again_by_time_and_not_by_count(
    lasted: timedelta, pause: timedelta, asked: int
) -> None:
    now = micros(NOON + lasted)
    assert instant(next_asks(silent(lasted, asked), now)[0]) == NOON + lasted + pause


def test_a_request_dated_in_the_future_delays_nothing() -> None:
    for ahead in (DAY, 4000 * DAY):
        gaps = NOTHING
        for ask in range(9):
            at = NOON + ahead + ask * DAY
            gaps = count_asked(gaps, [AskedRange(NOON - DAY, NOON, at)], NONE)
        now = micros(NOON)
        assert next_asks(gaps, now)[0] <= now
        gaps = count_asked(gaps, [AskedRange(NOON - DAY, NOON, NOON)], NONE)  # by the right time
        assert gaps[["asked", "answered"]].tolist() == [(1, 1)]
        assert gaps[["asked_since", "asked_at"]].tolist() == [(now, now)]


def test_clocks_that_differ_by_minutes_count_as_one() -> None:
    asks = [AskedRange(NOON - DAY, NOON, NOON + late) for late in (HOUR / 10, 0 * HOUR)]
    gaps = count_asked(count_asked(NOTHING, asks[:1], NONE), asks[1:], NONE)
    assert gaps["asked"].tolist() == [1]
    assert instant(gaps["asked_at"][0]) == NOON + HOUR / 10


def test_three_answers_within_a_second_are_one() -> None:
    gaps = NOTHING
    for second in range(3):
        at = NOON + DAY + second * timedelta(seconds=0.3)
        gaps = count_asked(gaps, [AskedRange(NOON, NOON + 5 * HOUR, at)], NONE)
    assert (gaps["asked"].tolist(), gaps["answered"].tolist()) == ([1], [1])
    assert instant(next_asks(gaps, micros(at))[0]) <= NOON + DAY + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("lasted", "answered", "sure"),
    [
        (7 * DAY, CONFIRMED_ANSWERS, True),
        (7 * DAY, CONFIRMED_ANSWERS - 1, False),
        (7 * DAY - HOUR, 1000, False),
        (timedelta(0), 1000, False),
    ],
)
def test_only_long_silence_of_true_answers_is_upstreams_own(
    lasted: timedelta, answered: int, *, sure: bool
) -> None:
    assert confirmed(silent(lasted, answered)).tolist() == [sure]


def test_any_number_of_refusals_is_no_evidence() -> None:
    gaps = NOTHING
    for day in range(100):
        ask = AskedRange(NOON, NOON + HOUR, NOON + (1 + day) * DAY, answered=False)
        gaps = count_asked(gaps, [ask], NONE)
    assert gaps["asked"].tolist() == [100]
    assert not confirmed(gaps).any()


_rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(1, 9), st.integers(0, 400)),
    max_size=8,
)
_spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)), min_size=1, max_size=5)


@given(_rows, _spans, st.integers(0, 800))
def test_evidence_of_any_gaps(
    rows: list[tuple[int, int, int, int]], spans: list[tuple[int, int]], now: int
) -> None:
    """Against each hour for itself."""
    gaps, hours, at = np.empty(len(rows), GAP_ROW), dict[int, Rows](), 0
    for number, (skipped, length, asked, lasted) in enumerate(rows):
        start = at + skipped
        at = start + length
        since = 1000 * HOUR_MICROS + number
        gaps[number] = (
            start * HOUR_MICROS, at * HOUR_MICROS, asked, asked, since, since + lasted * HOUR_MICROS
        )  # fmt: skip
        hours |= dict.fromkeys(range(start, at), gaps[number : number + 1])
    starts = np.array([start for start, _ in spans]) * HOUR_MICROS
    ends = np.array([start + length for start, length in spans]) * HOUR_MICROS
    moment = (1000 + now) * HOUR_MICROS
    found = evidence(gaps, starts, ends, moment)
    for place, (start, length) in enumerate(spans):
        inside = [hours.get(hour) for hour in range(start, start + length)]
        asked_for = [each for each in inside if each is not None]
        whole = len(asked_for) == length
        since = min((int(each["asked_since"][0]) for each in asked_for), default=0)
        again = min((int(next_asks(each, moment)[0]) for each in asked_for), default=0)
        assert found.since[place] == since
        assert found.times[place] == max((int(each["asked"][0]) for each in asked_for), default=0)
        assert found.until[place] == (again if whole and again > moment else 0)
        assert found.upstream[place] == (whole and all(confirmed(each)[0] for each in asked_for))
        edges = start * HOUR_MICROS, (start + length) * HOUR_MICROS
        assert covers(gaps, *edges) == whole
        assert missing_micros(gaps, *edges) == len(asked_for) * HOUR_MICROS

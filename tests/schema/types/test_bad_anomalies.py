"""Invalid arguments of `anomalies`, and ranges without anomalies."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.schema.anomaly_scenario import QUERY
from tests.schema.refusals import refused
from tests.serving import Reader


@pytest.mark.parametrize(
    ("variables", "status", "code", "words"),
    [
        ({"window": 2}, 400, "BAD_USER_INPUT", "`window` must be between 3 and 168, not 2."),
        ({"window": 169}, 400, "BAD_USER_INPUT", "between 3 and 168, not 169."),
        ({"threshold": 0.99}, 400, "BAD_USER_INPUT", "`threshold` must be between 1 and 1,000,000"),
        ({"threshold": -4}, 400, "BAD_USER_INPUT", "not -4."),
        ({"threshold": 1e300}, 400, "BAD_USER_INPUT", "not 1e+300."),
        ({"from": "2026-02-01", "to": "2026-01-01"}, 400, "BAD_USER_INPUT", "lies after `to`"),
        ({"from": "2020-01-01", "to": "2026-01-01"}, 400, "RANGE_TOO_LARGE", "52,608 hours"),
        ({"coins": ["nope"]}, 404, "NOT_FOUND", "There is no coin 'nope'"),
        ({"currencies": ["xyz"]}, 404, "NOT_FOUND", "There is no currency 'xyz'"),
    ],
)
async def test_rejected_arguments(
    reader: Reader, variables: dict[str, Any], status: int, code: str, words: str
) -> None:
    found_status, found_code, message = await refused(reader, QUERY, **variables)
    assert (found_status, found_code) == (status, code)
    assert words in message


async def test_ranges_without_data(reader: Reader) -> None:
    future = f"{datetime.now(UTC).year + 1}-01-01"
    for edges in (
        {"from": "2015-01-01", "to": "2015-06-01"},
        {"from": future},
        {"to": "2010-01-01"},
    ):
        assert await reader.data(QUERY, **edges) == {"anomalies": []}

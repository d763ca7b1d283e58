"""HTTP over raw sockets."""

import pytest

from tests.fuzz.budget import Case, cases
from tests.fuzz.concurrency import crowd
from tests.fuzz.http_bytes import count_of, requests
from tests.fuzz.response_checks import answers_in, judge
from tests.fuzz.target import Target, exchange

pytestmark = pytest.mark.endurance

_CONNECTIONS = 2200
_SHARE = 0.2


async def test_http_bytes(target: Target) -> None:
    async def try_one(case: Case) -> int:
        pieces = requests(case.random)
        received = await exchange(target.address, pieces)
        try:
            for answer in answers_in(received):
                judge(answer)
        except Exception as error:
            error.add_note(f"to {pieces!r}: {received[:2000]!r}")
            raise
        return count_of(pieces)

    sent = await crowd(cases("http", _CONNECTIONS, _SHARE), try_one)
    print(f"{sent} requests")
    assert sent > _CONNECTIONS

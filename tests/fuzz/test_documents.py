"""Valid, nearly valid and invalid operations, by POST and GET."""

import json
import time
from collections.abc import Iterator
from hashlib import sha256
from random import Random
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.budget import SECONDS, SEED
from tests.fuzz.documents import DOCUMENTS, variation
from tests.fuzz.response_checks import Answer, judge
from tests.fuzz.target import Target
from tests.serving import PATIENCE, TOKEN

pytestmark = pytest.mark.endurance

_DOCUMENTS = 200
_VARIATIONS = 15  # of each document
_SHARE = 0.4
_LONGEST = 30_000  # characters of an address
_ACCEPTS = [*("*/*", "application/json", "application/graphql-response+json") * 5, "image/png"]
_CODINGS = ["identity", "gzip", "br;q=0.5, zstd", "*;q=0", "x"]


@pytest.fixture
def client(target: Target) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=target.url, timeout=PATIENCE, trust_env=False) as http:
        yield http


def _send(http: httpx.Client, request: dict[str, Any], random: Random) -> httpx.Response:
    headers = {
        "Accept": random.choice(_ACCEPTS),
        "Accept-Encoding": random.choice(_CODINGS),
        "Apollo-Require-Preflight": "true",
    }
    if random.random() < 0.5:
        headers["Authorization"] = f"Bearer {random.choice([TOKEN, TOKEN, 'wrong'])}"
    if random.random() < 0.2 and isinstance(request.get("query"), str):
        _extend(request, random)
    if random.random() < 0.2:
        fields = {
            name: each if isinstance(each, str) else json.dumps(each)
            for name, each in request.items()
        }
        address = urlencode(fields, errors="surrogateescape")
        if len(address) < _LONGEST:
            return http.get(f"/graphql?{address}", headers=headers)
    headers["Content-Type"] = "application/json"
    return http.post("/graphql", content=json.dumps(request), headers=headers)


def _extend(request: dict[str, Any], random: Random) -> None:
    """Request the cost, or send the document's hash: with the document, sometimes without."""
    digest = sha256(request["query"].encode(errors="surrogatepass")).hexdigest()
    persisted = {"version": 1, "sha256Hash": digest}
    request["extensions"] = random.choice([{"cost": True}, {"persistedQuery": persisted}])
    if random.random() < 0.3:
        del request["query"]


def _try_all(target: Target, http: httpx.Client, examples: int, start: int | None) -> int:
    sent = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=start is None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(DOCUMENTS, st.integers(0, 2**32))
    def try_one(document: str, variations: int) -> None:
        nonlocal sent
        random = Random(variations)  # noqa: S311 - it must repeat
        for _ in range(_VARIATIONS):
            request = variation(document, random)
            with target.timed(json.dumps(request)):
                response = _send(http, request, random)
            answer = Answer(response.status_code, response.headers, response.content)
            try:
                judge(answer)
                target.assert_silent()
            except AssertionError as error:
                error.add_note(f"to {request!r}")
                raise
            sent += 1

    (try_one if start is None else seed(start)(try_one))()
    return sent


def test_documents(target: Target, client: httpx.Client) -> None:
    until = time.monotonic() + SECONDS * _SHARE
    if not SECONDS:
        sent = _try_all(target, client, _DOCUMENTS, None)
        assert sent >= _DOCUMENTS * _VARIATIONS
    else:
        sent, start = 0, int(SEED)
        while time.monotonic() < until:
            sent += _try_all(target, client, 50, start)
            start += 1
    print(f"{sent} operations")
    target.report_long()

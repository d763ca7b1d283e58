"""Live polls of an upstream that refuses them, or whose prices are of the future."""

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from ingestion.coingecko.client import CoinGecko
from ingestion.coingecko.errors import UpstreamError
from ingestion.jobs.backoff import Backoff
from ingestion.jobs.live_prices import next_due
from ingestion.quota.throttle import Throttle
from models.postgres.database import Database
from tests.ingestion.polling import COINS, CURRENCIES, NAMES, latest, leads, poller_of
from tests.ingestion.running import Deployment
from tests.ingestion.scripted import ScriptedUpstream, http, scripted


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted() as made:
        yield made


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[CoinGecko]:
    async with CoinGecko(throttle=Throttle(600_000), base_url=upstream.url) as client:
        yield client


async def test_polls_under_a_ban_are_single_calls(
    deployment: Deployment, database: Database, upstream: ScriptedUpstream, client: CoinGecko
) -> None:
    await deployment.process(COINS, CURRENCIES, base_url=upstream.url)
    poller = poller_of(database, client)
    upstream.refuse = lambda _kind, _target: http(b"<html>", status="403 Forbidden")
    counts = []
    for _ in range(5):
        with pytest.raises(UpstreamError, match="403"):
            await poller.poll(leads)
        counts.append(len(upstream.calls))
    assert counts == [6, 7, 8, 9, 10]
    upstream.refuse = lambda _kind, _target: None
    assert await poller.poll(leads) == len(NAMES)
    assert len(upstream.calls) == 11


def test_polls_that_fail_come_less_often() -> None:
    backoff, due, polls = Backoff("live poll", longest_pause=600.0), 0.0, 0
    while due < 6 * 3600:
        polls += 1
        due = next_due(due, 10.0, due + backoff.failed(ValueError("banned")))
    assert polls <= 45, "of 2,160"


async def test_a_price_from_the_future_is_not_stored_and_shuts_out_no_later_one(
    deployment: Deployment, database: Database, upstream: ScriptedUpstream, client: CoinGecko
) -> None:
    await deployment.process(COINS, CURRENCIES, base_url=upstream.url)
    poller = poller_of(database, client)
    ahead = 72_000.0

    def moved(answer: Any) -> Any:
        late = int(time.time() + ahead)
        return {coin: {**quote, "last_updated_at": late} for coin, quote in answer.items()}

    upstream.spoil["price"] = moved
    with capture_logs() as logs:
        for _ in range(2):
            assert await poller.poll(leads) == 0
    logged = [log["note"] for log in logs if log["event"] == "live prices dropped"]
    assert len(logged) == 1, "once"
    assert re.search(r"a time (20:00:00|19:59:5\d) ahead", logged[0])
    assert await latest(deployment) == {}
    ahead = 200.0  # clocks differ
    assert await poller.poll(leads) == len(NAMES)
    ahead = 260.0
    assert await poller.poll(leads) == len(NAMES)
    # one that an earlier version has stored
    await deployment.sql.execute("UPDATE price_latest SET observed_at = now() + interval '1 day'")
    upstream.spoil.clear()
    assert await poller.poll(leads) == len(NAMES)
    assert all(seen[0] <= datetime.now(UTC) for seen in (await latest(deployment)).values())

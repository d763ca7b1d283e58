"""The throttle in use, against an upstream that counts."""

import pytest

from simulator import Fault, SimulatorOptions, run_simulator
from tests.ingestion.running import Deployment


@pytest.mark.slow
async def test_a_setting_within_the_limit_is_never_refused(deployment: Deployment) -> None:
    # 8 calls in any two seconds, which is 240 a minute
    options = SimulatorOptions(requests_per_minute=8, limit_window=2)
    with run_simulator(options) as limited:
        # in two seconds 7 of them, so that one may come late; test_throttle keeps to the limit
        refresher = await deployment.process(per_minute=190, base_url=limited.base_url)
        ended = await deployment.refresh(refresher)
        assert ended.status == "SUCCEEDED"
        assert [each.status for each in limited.requests] == [200] * ended.calls[0]
        assert ended.calls[0] == 11
        arrivals = [each.at for each in limited.requests]
    # 11 calls take 10 intervals of 322 ms
    assert arrivals[-1] - arrivals[0] > 2.5


@pytest.mark.slow
async def test_a_setting_too_high_is_slowed_down_and_completes(deployment: Deployment) -> None:
    # a window that the seven calls fit into also on a slow machine
    options = SimulatorOptions(requests_per_minute=5, limit_window=4)
    with run_simulator(options) as limited:
        refresher = await deployment.process(per_minute=6000, base_url=limited.base_url)
        ended = await deployment.refresh(refresher, days=5)
        statuses = [each.status for each in limited.requests]
        refused = [each.at for each in limited.requests if each.status == 429]
        after = [each.at for each in limited.requests if each.at > max(refused, default=0)]
    assert (ended.status, ended.calls) == ("SUCCEEDED", (7, 7, 0))
    assert statuses.count(200) == 7
    assert 1 <= len(refused) <= 4  # those in flight, once
    assert min(after) - max(refused) > 0.9  # Retry-After: 1 at least


@pytest.mark.slow
async def test_too_many_calls_for_ever_end_the_run(deployment: Deployment) -> None:
    deployment.simulator.add_fault(Fault("throttled_text", path="/market_chart/range", times=None))
    ended = await deployment.refresh(await deployment.process())
    assert ended.status == "FAILED"
    assert "too many calls" in ended.run["error"]
    assert ended.calls == (11, 1, 10)

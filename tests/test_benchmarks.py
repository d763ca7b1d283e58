"""The pieces of the benchmark work. What it measures is never a test."""

import asyncio
import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from graphql import parse, validate

pytest.importorskip("psutil", reason="`make bench` installs what the benchmarks need")

from benchmarks import load, report
from benchmarks.crowd import until
from benchmarks.databases import POSTGRAPHILE_FUNCTION, run_sql
from benchmarks.figures import Figure, Section
from benchmarks.load import Load, Target, quantile
from benchmarks.peers import catalog
from benchmarks.peers.catalog import COINGRAPH, Peer, Place
from benchmarks.processes import Running, send, watched
from benchmarks.questions import Ask, Range
from benchmarks.siege import answers, operations
from benchmarks.siege.attacker import ORIGINS, Attack, Attacker, Origin
from benchmarks.siege.attacks import ATTACKS
from tests.schema.nullable import SCHEMA
from tests.serving import Reader

_PEERS = (catalog.STARLETTE, catalog.FASTAPI, catalog.STRAWBERRY, catalog.POSTGRAPHILE)
_SECONDS = 1.0


def _answered(url: str, peer: Peer, part: Range) -> tuple[list[object], list[str], list[object]]:
    """What a server says of prices, currencies and coins, in one form for all servers."""

    def decoded(ask: Ask) -> Any:
        return orjson.loads(send(url, ask).raise_for_status().content)

    language = peer.language
    return (
        list(language.read_prices(decoded(language.prices(part)))),
        language.read_currencies(decoded(language.currencies)),
        list(language.read_coins(decoded(language.coins))),
    )


@pytest.mark.processes
@pytest.mark.parametrize("peer", _PEERS, ids=lambda peer: peer.name)
def test_a_peer_answers_what_coingraph_answers(
    peer: Peer, shared_url: tuple[str, str], tmp_path: Path
) -> None:
    if reason := catalog.missing(peer):
        pytest.skip(reason)
    url, database_url = shared_url
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    part = Range("ethereum", "eur", now - timedelta(days=3), now - timedelta(hours=1))
    if peer is catalog.POSTGRAPHILE:
        run_sql(database_url, POSTGRAPHILE_FUNCTION)
    try:
        with peer.start(Place(database_url, tmp_path, tmp_path)) as server:
            answered = _answered(server.url, peer, part)
    finally:
        if peer is catalog.POSTGRAPHILE:
            run_sql(database_url, "DROP FUNCTION series_points")
    prices, currencies, coins = expected = _answered(url, COINGRAPH, part)
    assert answered == expected
    assert len(prices) > 60
    assert (len(currencies), len(coins)) == (2, 2)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The server that returns bytes it holds already."""
    folder = tmp_path_factory.mktemp("answers")
    (folder / "currencies.json").write_bytes(b'{"data":{"currencies":[{"code":"usd"}]}}')
    with catalog.BARE.start(Place("unused", folder, folder)) as server:
        yield server


@pytest.mark.processes
def test_load_is_counted_by_either_generator(
    bare: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = [Ask("/currencies", b'{"number": %d}' % number) for number in range(3)]
    target = Target.of(bare.url, asks, tmp_path / "lines")
    with watched(bare.process, None) as usage:
        counted = [asyncio.run(load.generate(target, _SECONDS, 1, 2))]
        if shutil.which("wrk"):
            counted.append(load.run(target, 1, 0))
        monkeypatch.setenv("PATH", str(tmp_path))
        counted.append(load.run(target, _SECONDS, 0))
    for each in counted:
        assert each.requests > 10
        assert (each.broken, each.refused) == (0, 0)
        assert 0 < each.p50 <= each.p99
    assert usage.cpu > 0
    assert usage.memory > 2**20


@pytest.mark.processes
def test_refused_requests_are_counted(bare: Running, tmp_path: Path) -> None:
    target = Target.of(bare.url, [Ask("/no/such/route")], tmp_path / "lines")
    counted = asyncio.run(load.generate(target, _SECONDS, 0, 1))
    assert counted.refused == counted.requests > 0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5.0), (0.99, 10.0), (0.9, 9.0), (0.01, 1.0)])
def test_a_quantile_is_a_value_that_was_seen(share: float, expected: float) -> None:
    assert quantile([float(number) for number in range(1, 11)], share) == expected


def test_a_figure_says_whether_it_is_reached() -> None:
    least = Figure("work", "≥ 5 ×", 5.0, 5)
    most = Figure("work", "≤ 300 MiB", 301.2, 300, unit="MiB", at_most=True)
    unknown = Figure("work", "≥ 5 ×", None, 5)
    assert [each.verdict for each in (least, most, unknown)] == [
        "reached",
        "NOT reached",
        "not measured",
    ]
    assert [each.measured for each in (least, most, unknown)] == ["5.00 ×", "301 MiB", "–"]
    assert dataclasses.replace(least, value=4.999).reached is False


def test_the_report_holds_all_that_was_measured() -> None:
    figure = Figure("a work", "≥ 2 × FastAPI", 2.5, 2, note="on Sunday")
    rows = [["coingraph", "1,000.0"], ["FastAPI", "400.0"]]
    section = Section("a work", ("server", "requests/s"), rows, [figure], ["A remark."])
    text = report.render({"Python": "3.11"}, [section])
    assert "| Python | 3.11 |" in text
    assert "| a work | ≥ 2 × FastAPI | 2.50 ×   | reached (on Sunday) |" in text
    assert "| coingraph | 1,000.0    |\n| FastAPI   | 400.0      |" in text
    assert text.endswith("A remark.\n")


def test_a_rate_is_answers_a_second() -> None:
    assert Load(100, 4.0, 0, 1.0, 2.0, 0, 0).rate == 25


ASKED = {name: each.query(3) for name, each in operations.QUESTIONS.items()} | {
    "large": answers.LARGE,
    "few": answers.FEW,
    "much": answers.MUCH,
}


@pytest.mark.parametrize("name", ASKED)
def test_what_a_siege_asks_is_valid(name: str) -> None:
    assert not validate(SCHEMA, parse(ASKED[name]))


async def _run(attack: Attack, attacker: Attacker) -> None:
    await attack(attacker)


@pytest.mark.processes
@pytest.mark.parametrize("origin", ORIGINS, ids=lambda origin: origin.name)
async def test_attacks_are_counted(reader: Reader, origin: Origin) -> None:
    url = str(reader.http.base_url).rstrip("/")
    said = []
    for name in ("3 Accept of commas", "5 subscriptions with expensive events"):
        attacker = Attacker(url, origin)
        attacking = asyncio.create_task(_run(ATTACKS[name], attacker))
        await until(partial(bool, attacker.said))
        attacking.cancel()
        await asyncio.wait([attacking])
        said.append(set(attacker.said))
    assert said == [{"431"}, {"101"}]


@pytest.mark.processes
def test_a_server_that_does_not_start_is_named(tmp_path: Path) -> None:
    broken = dataclasses.replace(catalog.BARE, module="no_such_module")
    place = Place("unused", tmp_path, tmp_path)
    with contextlib.ExitStack() as stack, pytest.raises(Exception, match="ended at once"):
        stack.enter_context(broken.start(place))

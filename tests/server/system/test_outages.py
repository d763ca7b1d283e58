"""Database outages other than a refused connection: silent, slow, cut off, crowded, closed."""

import asyncio
import gc
from urllib.parse import quote

import asyncpg
import httpx
import pytest

from models.postgres.database import Database, DatabaseUnavailableError
from simulator import Fault, Simulator
from tests.server.cache_probes import is_true, until, wait_for_listener
from tests.server.outages import STATUS, far_server, leave_the_breaker_alone
from tests.server.proxy import proxy_to
from tests.server.system.test_database_unavailable import PRICES, REFRESH, unavailable, works
from tests.serving import PATIENCE, TOKEN, LiveServer, live_server, make_settings

pytestmark = pytest.mark.endurance
CHART = "/market_chart"
BEGIN = "mutation { refreshPrices { run { id status } } }"
LAST_RUNS = "{ refreshRuns(first: 3) { nodes { id status } } }"


@pytest.fixture(autouse=True)
def _breaker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_the_breaker_alone(monkeypatch)


async def readiness(server: LiveServer) -> int:
    return (await server.http.get("/health/ready")).status_code


@pytest.mark.parametrize("how", ["silent", "slow"])
async def test_no_request_waits_for_an_unresponsive_database(
    database_url: str, shared_simulator: Simulator, how: str
) -> None:
    async with far_server(database_url, shared_simulator) as (server, proxy):
        await server.data(REFRESH, token=TOKEN)
        before = await server.data(PRICES)
        for _ in range(2):
            if how == "silent":
                proxy.freeze()
            else:
                proxy.delay = 5.0
            many = [server.post(PRICES if n % 2 else STATUS) for n in range(40)]
            for answer in await asyncio.gather(*many):  # more than the pool has connections
                unavailable(answer)
            assert await readiness(server) == 503
            unavailable(await server.post(REFRESH, token=TOKEN))
            assert (await server.http.get("/health/live")).status_code == 200
            proxy.thaw()
            proxy.delay = 0.0
            await until(lambda: works(server))
            assert await readiness(server) == 200
            assert await server.data(PRICES) == before
        ended = await server.data(REFRESH, token=TOKEN)
        assert ended["refreshPrices"]["run"]["status"] == "SUCCEEDED"
        await wait_for_listener(server)


async def test_an_outage_leaves_no_connection_in_use(
    database_url: str, shared_simulator: Simulator
) -> None:
    """A connection lost by SQLAlchemy would only be found by the garbage collector."""
    async with far_server(database_url, shared_simulator) as (server, proxy):
        await server.data(REFRESH, token=TOKEN)
        pool = server.application.database._pool  # noqa: SLF001 - to see what it holds
        gc.disable()
        try:
            proxy.delay = 1.0  # a session is opened and closed while the circuit opens
            await asyncio.gather(*(server.post(PRICES if n % 2 else STATUS) for n in range(40)))
            proxy.delay = 0.0
            await until(lambda: works(server))
            await until(is_true(lambda: pool.open <= 2))
        finally:
            gc.enable()


async def test_an_unavailable_database_is_probed_by_one_connection(
    database_url: str, shared_simulator: Simulator
) -> None:
    async with far_server(database_url, shared_simulator) as (server, proxy):
        proxy.freeze()
        unavailable(await server.post(STATUS))
        await until(is_true(lambda: not server.application.listener.listening))
        opened = proxy.opened
        for answer in await asyncio.gather(*(server.post(PRICES) for _ in range(100))):
            unavailable(answer)
        assert proxy.opened - opened < 10, "the probe and the listener, not the hundred"


@pytest.mark.parametrize("passed", [1, 40, 400, 4_000, 12_000])
async def test_results_that_are_cut_off(
    database_url: str, shared_simulator: Simulator, passed: int
) -> None:
    """A read is retried once, so a cut is visible only if it persists."""
    async with far_server(database_url, shared_simulator) as (server, proxy):
        await server.data(REFRESH, token=TOKEN)
        before = await server.data(PRICES)
        proxy.bytes_left = passed
        answers = await asyncio.gather(*(server.post(PRICES) for _ in range(4)))
        while proxy.bytes_left:
            answers.append(await server.post(PRICES))
        for answer in answers:
            if answer.status_code == 200:
                assert answer.json()["data"] == before
            else:
                unavailable(answer)
        unavailable(await server.post(PRICES))  # nothing is let through from here on
        proxy.bytes_left = None
        await until(lambda: works(server))
        assert await server.data(PRICES) == before


async def test_a_crowded_pool(
    server: LiveServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statements that wait for a lock hold every connection."""
    database = server.application.database
    monkeypatch.setattr(database, "_read_seconds", 60.0)
    monkeypatch.setattr(database, "_wait_seconds", 60.0)
    async with sql.transaction():
        await sql.execute("LOCK TABLE refresh_run")
        # each in its own words, or one would be computed for all
        texts = [STATUS.replace("{ refresh", f"{{ n{n}: refresh", 1) for n in range(41)]
        stuck = [asyncio.create_task(server.post(text)) for text in texts[:40]]
        places = database._pool._slots  # noqa: SLF001 - there is no public way to see their holders
        await until(is_true(lambda: places.crowded and places.taken == places.limit))
        monkeypatch.setattr(database, "_wait_seconds", 0.2)
        refused = await server.post(texts[40])
        unavailable(refused)
        assert "busy" in refused.text
        assert await readiness(server) == 503
    for answer in await asyncio.gather(*stuck):
        assert answer.status_code in {200, 503}
    assert await works(server)
    assert await readiness(server) == 200


async def test_a_late_statement_is_cancelled(
    server: LiveServer, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database responds, except to this statement."""
    monkeypatch.setattr(server.application.database, "_read_seconds", 1.0)
    async with sql.transaction():
        await sql.execute("LOCK TABLE refresh_run, price_hourly")
        for query in (STATUS, PRICES):
            answer = await server.post(query)
            unavailable(answer)
            assert "too long" in answer.text
        assert await works(server)
        await until(lambda: nobody_waits(sql))
    assert (await server.post(STATUS)).status_code == 200


async def nobody_waits(sql: asyncpg.Connection) -> bool:
    return not await sql.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )


async def test_the_server_stops_while_the_database_is_unresponsive(
    refreshed: object, database_url: str, simulator: Simulator
) -> None:
    """During a refresh, which the next server finds and marks as interrupted."""
    async with proxy_to(database_url) as proxy:
        async with (
            asyncio.timeout(PATIENCE),
            live_server(make_settings(proxy.url, simulator)) as server,
        ):
            simulator.add_fault(Fault("slow", path=CHART, times=None, seconds=PATIENCE))
            run = (await server.data(BEGIN, token=TOKEN))["refreshPrices"]["run"]
            assert run["status"] == "RUNNING"
            await until(is_true(lambda: any(CHART in each.target for each in simulator.requests)))
            proxy.freeze()
        async with httpx.AsyncClient(base_url=server.url) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get("/health/live")
    simulator.clear_faults()
    async with live_server(make_settings(database_url, simulator)) as following:

        async def is_closed() -> bool:
            runs = (await following.data(LAST_RUNS))["refreshRuns"]["nodes"]
            return {"id": run["id"], "status": "INTERRUPTED"} in runs

        await until(is_closed)


async def test_a_connection_of_a_client_outlives_the_outage(
    database_url: str, shared_simulator: Simulator
) -> None:
    async with far_server(database_url, shared_simulator) as (server, proxy):
        one = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(base_url=server.url, limits=one, timeout=PATIENCE) as http:
            seen, clients = [], set()

            async def ask(query: str) -> None:
                answer = await http.post("/graphql", json={"query": query})
                stream = answer.extensions["network_stream"]
                clients.add(stream.get_extra_info("client_addr"))
                seen.append(answer.status_code)

            for step in (proxy.cut, proxy.restore):
                await ask(STATUS)
                await step()
                await ask(STATUS)
            await until(lambda: works(server))
            await ask(STATUS)
        assert (seen[:3], seen[-1]) == ([200, 503, 503], 200)
        assert len(clients) == 1


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("default_transaction_read_only = on", "takes no writes"),  # as a standby
        ("statement_timeout = 1000", "too long"),
    ],
)
async def test_timeouts_set_by_an_operator(database_url: str, setting: str, shown: str) -> None:
    options = quote(f"-c {setting}".replace(" = ", "="))
    database = Database(f"{database_url}{'&' if '?' in database_url else '?'}options={options}")
    with pytest.raises(DatabaseUnavailableError, match=shown):
        await write_slowly(database)
    await database.close()


async def write_slowly(database: Database) -> None:
    async with database.write() as session:
        driver = await session.driver()
        await driver.fetch("SELECT pg_sleep(30)")
        await driver.execute("INSERT INTO currency VALUES ('x', 'X', 'x')")

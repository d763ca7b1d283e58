"""Environments that other programs tolerate: commands succeed in them, and servers serve."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from models import coins as coin_rows
from models.postgres.database import Database
from models.tables import Coin
from server.bootstrap import seeds
from simulator import Simulator
from tests.server.commands import one_line, run, run_concurrently
from tests.server.postgres_processes import ROOT, eventually
from tests.server.server_process import served
from tests.serving import PATIENCE, TOKEN, live_server, make_settings

REFRESH = "mutation { refreshPrices(input: {wait: true}) { run { status error } } }"
# As some container runtimes, desktops and companies set them, all at once.
ODD = {
    "NO_PROXY": "localhost,fd00::/8,[::1],.local,10.0.0.0/8,fd07:b51a:cc66:f0::/64, ,%",
    "HTTP_PROXY": "127.0.0.1:1",
    "https_proxy": "http://me:s3cret-pw@127.0.0.1:1",
    "ALL_PROXY": "socks4://127.0.0.1:1",
    "SSL_CERT_FILE": "/nonexistent",
    "REQUESTS_CA_BUNDLE": "/nonexistent",
}
# As for psql; they are about another server than the embedded one.
OF_ANOTHER_SERVER = {
    "PGSSLMODE": "verify-full",
    "PGSSLROOTCERT": "/nonexistent",
    "PGSSLNEGOTIATION": "direct",
    "PGTARGETSESSIONATTRS": "standby",
    "PGHOST": "db.invalid",
    "PGSERVICEFILE": "/nonexistent",
}


@pytest.mark.processes
def test_the_demo_uses_its_own_simulator(tmp_path: Path) -> None:
    """The demo bypasses proxies, which would refuse, and DATABASE_URL."""
    odd = ODD | OF_ANOTHER_SERVER
    with served(tmp_path, "--demo", **odd) as server, server.client() as client:
        query = {"query": "{ latestPrices { price } }"}

        def loaded() -> bool:
            answer = client.post("/graphql", json=query)
            return answer.status_code == 200 and len(answer.json()["data"]["latestPrices"]) == 2

        eventually(loaded, PATIENCE)
        server.process.terminate()
        assert server.process.wait(60) == 0
    text = server.log.read_text()
    assert "Traceback" not in text
    assert "s3cret" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        (
            {"SSL_CERT_FILE": "/nonexistent"},
            "SSL_CERT_FILE: '/nonexistent' cannot be used: No such",
        ),
        ({"SSL_CERT_DIR": "/nonexistent"}, "SSL_CERT_DIR: '/nonexistent' cannot be used: there is"),
        (
            {"SSLKEYLOGFILE": "/nonexistent/log"},
            "SSLKEYLOGFILE: '/nonexistent/log' cannot be written: No such",
        ),
        ({"ALL_PROXY": "socks4://s3cret@h:1"}, "ALL_PROXY: names a proxy of an unknown kind"),
        ({"https_proxy": "http://u:s3cret@h:x"}, "https_proxy: names no proxy"),
    ],
)
async def test_a_server_without_upstream_serves_stored_prices(
    monkeypatch: pytest.MonkeyPatch,
    database_url: str,
    shared_simulator: Simulator,
    variables: dict[str, str],
    reason: str,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = make_settings(
        database_url, shared_simulator, coingecko_base_url="https://upstream.test/api/v3"
    )
    async with live_server(settings) as server:
        assert (await server.data("{ currencies { code } }"))["currencies"]
        ran = (await server.data(REFRESH, token=TOKEN))["refreshPrices"]["run"]
    assert ran["status"] == "FAILED"
    assert ran["error"].startswith(f"CoinGecko cannot be reached: {reason}")
    assert "s3cret" not in ran["error"]


@pytest.mark.endurance
@pytest.mark.processes
async def test_commands(database_url: str, tmp_path: Path) -> None:
    """Only the command that calls upstream fails."""
    where = {"DATABASE_URL": database_url, "COINS": "bitcoin", "CURRENCIES": "usd"}
    status, plan, migrate, schema, refresh = await asyncio.gather(
        *(
            run_concurrently(command, ODD | where, tmp_path)
            for command in (
                ["status"], ["refresh", "--dry-run"], ["migrate"], ["schema"], ["refresh"]
            )
        )
    )  # fmt: skip
    assert b"Pool" not in migrate.stderr, "the log has no lines of the pool's own"
    for done in (status, plan, migrate, schema):
        assert done.returncode == 0, done.stderr.decode()
    shown = refresh.stderr.decode()
    assert refresh.returncode == 2, shown
    assert "FAILED: nothing new" in shown
    assert (
        "CoinGecko cannot be reached: SSL_CERT_FILE: '/nonexistent' cannot be used: No s" in shown
    )
    for done in (status, plan, migrate, schema, refresh):
        assert b"Traceback" not in done.stderr
        assert b"s3cret" not in done.stderr + done.stdout


@pytest.mark.processes
async def test_a_server_logs_an_outbound_error_once(database_url: str, tmp_path: Path) -> None:
    with served(tmp_path, DATABASE_URL=database_url, SSL_CERT_FILE="/nonexistent") as server:
        await asyncio.to_thread(server.await_line, "refresh ended")
        (line,) = server.lines("CoinGecko cannot be reached")
        assert line["reason"].startswith("SSL_CERT_FILE: '/nonexistent' cannot be used")
        assert "Traceback" not in server.log.read_text()


@pytest.mark.endurance
@pytest.mark.processes
async def test_output_in_a_locale_without_unicode(
    database: Database,
    database_url: str,
    shared_simulator: Simulator,
    tmp_path: Path,
) -> None:
    """Files are UTF-8; printed text has escapes for characters that the locale lacks."""
    async with database.write() as session:
        coins = [*seeds.coins(["bitcoin"]), Coin(id="żółw", symbol="ż", name="Żółw")]
        await coin_rows.seed(session, coins, seeds.currencies(["usd"]))
    where = {
        "DATABASE_URL": database_url, "COINS": "bitcoin,żółw", "CURRENCIES": "usd",
        "COINGECKO_BASE_URL": shared_simulator.base_url, "HISTORY_DAYS": "2",
        "COINGECKO_REQUESTS_PER_MINUTE": "600000",
        "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0",
    }  # fmt: skip
    output = tmp_path / "schema.graphql"
    status, refresh, printed, written, helped = await asyncio.gather(
        *(
            run_concurrently(command, where | {"PYTHONIOENCODING": encoding})
            for encoding, command in (
                ("ascii", ["status"]), ("latin-1", ["refresh"]), ("ascii", ["schema"]),
                ("latin-1", ["schema", "--output", str(output)]), ("ascii", ["--help"]),
            )
        )
    )  # fmt: skip
    for done in (status, printed, written, helped):
        assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()
    assert b"Traceback" not in refresh.stderr
    assert refresh.returncode in {0, 1}, "one of the coins is there"
    assert b" new hours, " in refresh.stderr
    sdl = await asyncio.to_thread((ROOT / "schema/schema.graphql").read_bytes)
    assert not sdl.isascii()
    assert printed.stdout == sdl
    assert await asyncio.to_thread(output.read_bytes) == sdl
    assert b"\\u017c" in status.stdout


@pytest.mark.processes
@pytest.mark.parametrize("port", ["99999", "-1", "x"])
def test_a_port_that_no_simulator_can_have(port: str) -> None:
    done = run(["simulate", "--port", port], {})
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


@pytest.mark.processes
def test_a_schema_that_cannot_be_written(tmp_path: Path) -> None:
    line = one_line(run(["schema", "--output", str(tmp_path / "no/file")], {}))
    assert line == f"{tmp_path}/no/file cannot be written: No such file or directory"


@pytest.mark.processes
def test_migrate_needs_no_upstream_client() -> None:
    """Neither a broken HTTP client nor a wrong key stops a migration."""
    loaded = (
        "print(sorted({'httpx', 'ingestion.coingecko.client', 'simulator'} & sys.modules.keys()))"
    )
    program = f"import sys, server.cli.migrate; {loaded}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.processes
def test_migrate_in_an_environment_that_upstream_could_not_use(database_url: str) -> None:
    wrong = {"COINGECKO_API_KEY": "two words", "COINGECKO_BASE_URL": "http://user@[::1]:99/x"}
    migrated = run(["migrate"], {"DATABASE_URL": database_url, **ODD, **wrong})
    assert migrated.returncode == 0, migrated.stderr
    assert b"Traceback" not in migrated.stderr

"""`coingraph refresh --dry-run` in its own process."""

import os
import subprocess
import sys

import asyncpg
import pytest

from simulator import Simulator
from tests.server.postgres_processes import ROOT

pytestmark = pytest.mark.processes

COMMAND = (sys.executable, "-c", "from server.cli.main import main; main()", "refresh")


def refresh(
    database_url: str, simulator: Simulator, *arguments: str, **settings: str
) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "COINGECKO_BASE_URL": simulator.base_url,
        "COINGECKO_REQUESTS_PER_MINUTE": "600000",
        "COINS": "bitcoin,ethereum",
        "CURRENCIES": "usd",
        "HISTORY_DAYS": "100",
        **settings,
    }
    return subprocess.run(
        [*COMMAND, *arguments], env=env, capture_output=True, text=True, timeout=120, check=False
    )


async def test_a_dry_run_prints_a_table_and_writes_nothing(
    database_url: str, simulator: Simulator, sql: asyncpg.Connection
) -> None:
    done = refresh(database_url, simulator, "--dry-run", COINGECKO_REQUESTS_PER_MINUTE="60")
    assert (done.returncode, done.stderr) == (0, "")
    bitcoin, ethereum = (
        next(line.split() for line in done.stdout.splitlines() if coin in line)
        for coin in ("bitcoin", "ethereum")
    )
    assert bitcoin[:4] == ["bitcoin", "usd", "FIRST_LOAD", "3"]
    assert ethereum[:4] == ["ethereum", "usd", "FIRST_LOAD", "3"]
    assert "9 calls, 2 of them for coins' metadata, 2 for the days" in done.stdout
    assert "about 0.2 minutes at 58.8 calls a minute" in done.stdout
    assert "0 credits spent this month" in done.stdout
    assert simulator.requests == []
    assert await sql.fetchval("SELECT count(*) FROM refresh_run") == 0


@pytest.mark.parametrize("arguments", [("--dry-run",), ()])
async def test_past_the_budget_the_plan_proposes_what_fits(
    database_url: str, simulator: Simulator, arguments: tuple[str, ...]
) -> None:
    done = refresh(database_url, simulator, *arguments, COINGECKO_MONTHLY_CREDITS="8")
    assert done.returncode == 2
    said = done.stdout if arguments else done.stderr
    assert "This refresh needs 9 calls, but 8 of 8 credits are left until " in said
    assert "days 88 of all 2 series (5 calls)" in said
    assert "coins bitcoin in currencies usd (1 series, 5 calls)" in said
    assert "Traceback" not in done.stderr
    assert simulator.requests == []


@pytest.mark.endurance
async def test_the_proposed_plan_fits(database_url: str, simulator: Simulator) -> None:
    done = refresh(database_url, simulator, "--days", "88", COINGECKO_MONTHLY_CREDITS="8")
    assert done.returncode == 0, done.stderr
    assert len(simulator.requests) == 5
    again = refresh(database_url, simulator, "--dry-run", COINGECKO_MONTHLY_CREDITS="8")
    assert "5 of 8 credits spent this month" in again.stdout

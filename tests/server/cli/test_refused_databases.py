"""Databases that a command cannot use: one line with a remedy, and status 2."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.cli import startup
from server.cli.migrate import migrate
from server.cli.refresh import refresh
from server.cli.serve import serve
from server.cli.status import status
from tests.clusters import Cluster, ordinary_folder, running_cluster
from tests.conftest import administer

pytestmark = pytest.mark.processes
COMMANDS: dict[str, Callable[[], int]] = {
    "status": status,
    "migrate": migrate,
    "refresh": lambda: refresh(
        coins=None, currencies=None, days=None, rebuild=False, only_due=False, dry_run=False
    ),
    "serve": lambda: serve(demo=False),
}
MAKE = (
    "CREATE ROLE reader LOGIN PASSWORD 'secret'",
    "CREATE ROLE nologin NOLOGIN",
    "CREATE ROLE outsider LOGIN",
    "CREATE DATABASE plain",
    "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0",
    "CREATE DATABASE closed",
    "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
    "CREATE DATABASE shut ALLOW_CONNECTIONS false",
    "CREATE DATABASE homeless",
    "ALTER DATABASE homeless SET search_path = 'nowhere'",
)
# role:password@, database, parameters, what is said
CASES = {
    "wrong password": ("reader:wrong", "plain", "", "password authentication failed"),
    "no such role": ("nobody_knows", "plain", "", 'role "nobody_knows" does not exist'),
    "no login": ("nologin", "plain", "", "not permitted to log in"),
    "no such database": ("postgres", "nope", "", "CREATE DATABASE"),
    "no connect": ("outsider", "closed", "", "GRANT CONNECT"),
    "takes no connections": ("postgres", "shut", "", "not currently accepting connections"),
    "no create": ("outsider", "plain", "", "GRANT CREATE ON SCHEMA public"),
    "latin1": ("postgres", "latin", "", "ENCODING 'UTF8' TEMPLATE template0"),
    "sql_ascii": ("postgres", "ascii", "", "ENCODING 'UTF8' TEMPLATE template0"),
    "no tls": ("postgres", "plain", "sslmode=require", "offers no TLS"),
    "no authority": ("postgres", "plain", "sslmode=verify-full&sslrootcert=/no/where", "/no/where"),
    "no certificate": ("postgres", "plain", "sslmode=require&sslcert=/no/cert", "/no/cert"),
    "unknown option": ("postgres", "plain", "options=-cfoo%3D1", "foo"),
    "bad option": ("postgres", "plain", "options=-cwork_mem%3Dx", "work_mem"),
    "no schema": ("postgres", "plain", "options=-csearch_path%3Dnowhere", "no schema"),
    "bad mode": ("postgres", "plain", "sslmode=no-verify", "sslmode must be one of"),
    "unknown parameter": ("postgres", "plain", "pgbouncer=true", "'pgbouncer' is not supported"),
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    lines = ("host all reader 127.0.0.1/32 scram-sha-256",)
    with running_cluster(hba=lines) as cluster:
        for statement in MAKE:
            asyncio.run(administer(cluster.url(), statement))
        yield cluster


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the log configuration alone and use a free port."""
    monkeypatch.setattr(startup, "set_up_logs", lambda *_: None)
    monkeypatch.setenv("PORT", "0")
    monkeypatch.setenv("REFRESH_TOKENS", "token")
    monkeypatch.setenv("HOME", "/nonexistent")


def said(
    command: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run a command that must fail; return its only line."""
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command]()
    assert ended.value.code == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.strip()]
    assert line.startswith(("coingraph: DATABASE_URL: ", "coingraph: The database has no tables"))
    for secret in ("secret", "wrong"):
        assert secret not in line
    return line


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("case", CASES)
def test_refused_databases_print_one_line(
    cluster: Cluster,
    case: str,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    role, database, parameters, shown = CASES[case]
    if command == "status" and case in {"no schema", "no create"}:
        shown = "no tables"  # it only reads, so that it may lack a place to make them in
    url = f"postgresql://{role}@127.0.0.1:{cluster.port}/{database}?{parameters}"
    assert shown in said(command, url.rstrip("?"), monkeypatch, capsys)


def test_the_documented_grants_suffice(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for statement in ("CREATE ROLE granted LOGIN", "CREATE DATABASE granted"):
        asyncio.run(administer(cluster.url(), statement))
    grant = "GRANT CREATE, USAGE ON SCHEMA public TO granted"
    asyncio.run(administer(cluster.url("granted"), grant))
    monkeypatch.setenv("DATABASE_URL", cluster.url("granted", "granted"))
    assert migrate() == 0
    assert status() == 0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, a server certificate for localhost, and another authority."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments],  # noqa: S607 - wherever the system has it
            cwd=folder,
            check=True,
            capture_output=True,
        )

    key = ("-newkey", "rsa:2048", "-nodes", "-keyout")
    for name in ("ca", "other"):
        openssl("req", "-x509", *key, f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}")
    openssl("req", *key, "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
        "-out", "server.crt", "-extfile", "names",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def encrypted(certificates: Path) -> Iterator[Cluster]:
    """A server that requires TLS over TCP."""
    with ordinary_folder() as folder:
        cluster = Cluster(folder)
        cluster.create("hostnossl all all 127.0.0.1/32 reject")
        for name in ("server.key", "server.crt"):
            shutil.copy(certificates / name, cluster.data / name)
            shutil.copystat(cluster.data / "PG_VERSION", cluster.data / name)
            if not os.getuid():
                shutil.chown(cluster.data / name, "postgres", "postgres")
        cluster.configure("ssl=on")
        cluster.start()
        yield cluster
        cluster.stop()


TLS = {
    "require": ("localhost", "sslmode=require", None),
    "prefer": ("localhost", "sslmode=prefer", None),
    "allow": ("localhost", "sslmode=allow", None),
    "none": ("localhost", "", None),
    "verify-ca": ("127.0.0.1", "sslmode=verify-ca&sslrootcert={ca}", None),
    "verify-full": ("localhost", "sslmode=verify-full&sslrootcert={ca}", None),
    "wrong host": ("127.0.0.1", "sslmode=verify-full&sslrootcert={ca}", "not accepted"),
    "wrong authority": ("localhost", "sslmode=verify-full&sslrootcert={other}", "not accepted"),
    "wrong authority, ca": ("localhost", "sslmode=verify-ca&sslrootcert={other}", "not accepted"),
    "system": ("localhost", "sslmode=verify-full&sslrootcert=system", "not accepted"),
    "no authority": ("localhost", "sslmode=verify-full", "sslrootcert=FILE"),
    "not a certificate": ("localhost", "sslmode=verify-full&sslrootcert={names}", "TLS failed"),
    "disable": ("localhost", "sslmode=disable", "pg_hba.conf"),
}


@pytest.mark.parametrize("case", TLS)
def test_tls(
    encrypted: Cluster,
    certificates: Path,
    case: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    host, parameters, shown = TLS[case]
    files = {name: certificates / f"{name}.crt" for name in ("ca", "other")}
    parameters = parameters.format(**files, names=certificates / "names")
    url = f"postgres://postgres@{host}:{encrypted.port}/postgres?{parameters}".rstrip("?")
    if shown is not None:
        assert shown in said("status", url, monkeypatch, capsys)
        return
    monkeypatch.setenv("DATABASE_URL", url)
    assert migrate() == 0


@pytest.mark.parametrize("command", sorted(COMMANDS.keys() - {"serve"}))
def test_an_unreachable_database(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """During an outage a command fails, while a server waits."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/db")
    with pytest.raises(SystemExit) as ended:
        COMMANDS[command]()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("coingraph: The database cannot be reached (")
    assert line.endswith("Check DATABASE_URL.")
    assert "secret" not in line


def test_a_read_only_database_is_reported(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(administer(cluster.url(), "CREATE DATABASE frozen"))
    monkeypatch.setenv("DATABASE_URL", cluster.url("frozen"))
    assert migrate() == 0
    options = "?options=-cdefault_transaction_read_only%3Don"
    monkeypatch.setenv("DATABASE_URL", cluster.url("frozen") + options)
    assert migrate() == 0, "there is nothing to do"
    assert status() == 0
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        COMMANDS["refresh"]()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "coingraph: The database takes no writes at the moment. Try again when it does."

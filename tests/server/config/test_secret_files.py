"""Secrets in files, and a database password separate from its URL, also rotated."""

import os
from pathlib import Path

import httpx
import pytest

from models.coins import all_currencies
from models.postgres.advisory_lock import AdvisoryLock
from models.postgres.database import Database, DatabaseUnavailableError
from server.access.token_file import generated_token
from server.bootstrap.database import make_database
from server.config.settings import Settings, SettingsError, load_settings
from tests.server.password_proxy import password_door
from tests.server.postgres_processes import eventually
from tests.server.server_process import served
from tests.serving import PATIENCE, TOKEN, in_thread

URL = "postgresql://u@h/db"
SECRETS = {
    "database_url": "postgresql://u:s3cret-pw@h/db",
    "database_password": "s3cret-pw",
    "refresh_tokens": "s3cret-one,s3cret-two",
    "read_tokens": "s3cret-tok",
    "coingecko_api_key": "s3cret-key",
    "coingecko_base_url": "https://u:s3cret-pw@cg.example/api/v3",
    "rate_limit_storage": "redis://:s3cret-pw@h:6379/0",
}


def test_every_secret_can_be_in_a_file() -> None:
    files = {name.removesuffix("_file") for name in Settings.model_fields if name.endswith("_file")}
    assert files == set(SECRETS)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, end: str) -> None:
    more = {"database_url": URL} if name == "database_password" else {}
    plain = load_settings(**more, **{name: SECRETS[name]})
    (tmp_path / "secret").write_text(SECRETS[name] + end)
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    found = load_settings(**more)
    assert getattr(found, name) == getattr(plain, name)
    assert found.secrets == plain.secrets
    assert "s3cret" not in f"{found!r} {found}"


@pytest.mark.parametrize("name", SECRETS)
def test_files_without_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    for file, content in {
        "empty": b"", "blank": b" \n", "binary": b"\x00\x01s3cret", "latin": b"s3cret\xff",
        "large": b"s3cret" * 20_000, "utf16": "s3cret".encode("utf-16"),
    }.items():  # fmt: skip
        (tmp_path / file).write_bytes(content)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    setting = f"{name.upper()}_FILE"
    if name != "database_url":
        monkeypatch.setenv("DATABASE_URL", URL)
    words = {
        "empty": "is empty", "blank": "is empty", "binary": "is not UTF-8 text",
        "latin": "is not UTF-8 text", "utf16": "is not UTF-8 text", "large": "is larger than",
        "pipe": "is not a regular file", "dangling": "does not exist", "missing": "does not exist",
        ".": "is not a regular file", "empty/x": "cannot be read: Not a directory",
    }  # fmt: skip
    for file, what in words.items():
        monkeypatch.setenv(setting, str(tmp_path / file))
        line = refusal()
        assert line.startswith(f"{setting}: '{tmp_path / file}' {what}"), line
    monkeypatch.setenv(setting, "~nobody-of-that-name/x")
    assert refusal().startswith(f"{setting}: ")


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    line = str(caught.value)
    assert "\n" not in line
    assert "s3cret" not in line
    return line


@pytest.mark.parametrize("name", SECRETS)
def test_a_setting_and_its_file_together(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "secret").write_text(SECRETS[name])
    Path(".env").write_text(f"{name.upper()}='{SECRETS[name]}'\nPOSTGRES_PASSWORD_FILE=/nowhere\n")
    monkeypatch.setenv(f"{name.upper()}_FILE", str(tmp_path / "secret"))
    if name != "database_url":
        monkeypatch.setenv("DATABASE_URL", URL)
    assert refusal() == (
        f"{name.upper()}: is set, and {name.upper()}_FILE too; set only one of them"
    )


def test_a_bad_value_in_a_file_names_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("s3cret-one\ns3cret-two\n")
    monkeypatch.setenv("READ_TOKENS_FILE", str(tmp_path / "secret"))
    assert refusal() == "READ_TOKENS: it has a line break or another control character"


def test_a_password_without_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "s3cret")
    assert refusal() == "DATABASE_PASSWORD: is set, but DATABASE_URL is not; set both"


@pytest.mark.slow
@pytest.mark.parametrize("in_url", ["", ":old"])
@pytest.mark.parametrize("password", ["p@ss:w/rd?#[]%41 +'\"\\é€", "1", "x" * 3000, "'quoted' not"])
async def test_any_character_of_a_password(
    database_url: str, tmp_path: Path, in_url: str, password: str
) -> None:
    """Used verbatim by all connections: of the pool, beyond it, and of locks."""
    (tmp_path / "secret").write_text(password + "\n")
    async with password_door(database_url, password) as door:
        url = door.url.replace("@127", f"{in_url}@127")
        for given in (
            {"database_password": password},
            {"database_password_file": tmp_path / "secret"},
        ):
            database = make_database(load_settings(database_url=url, **given))
            assert await all_currencies(database) == []
            await (await database.connect("test")).close()
            async with AdvisoryLock(database, 1) as lock:
                assert await lock.acquire()
            await database.close()
        assert door.refused == 0


async def test_a_rotated_url(database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    async with password_door(database_url, "first") as door:
        address = door.url.replace("@127", ":%s@127")
        path.write_text(address % "first" + "\n")
        database = make_database(load_settings(database_url_file=path))
        assert await all_currencies(database) == []
        door.password = "second%"  # noqa: S105 - not a real one
        await fails(database, "28P01")
        path.write_text(address % "second%25")
        await (await database.connect("test")).close()
        path.write_text("mysql://s3cret@h")
        assert "DATABASE_URL_FILE: " in await fails(database, "holds no postgresql:// address")
        path.unlink()
        await fails(database, "does not exist")
        assert await all_currencies(database) == [], "open connections stay"
        await database.close()


async def fails(database: Database, words: str) -> str:
    with pytest.raises(DatabaseUnavailableError) as caught:
        await database.connect("test")
    cause = caught.value.__cause__
    text = f"{getattr(cause, 'sqlstate', '')} {cause}"
    assert words in text
    assert "s3cret" not in text
    return text


@pytest.mark.endurance
@pytest.mark.processes
def test_a_rotation_needs_no_restart(empty_url: str, tmp_path: Path) -> None:
    """A server starts with a wrong password, then the right one, then a rotated one."""
    wrong, first, second = "s3cret-wrong", "s3cret-first:@/'", 's3cret-second"\\'
    path = tmp_path / "secret"
    path.write_text(wrong)
    with in_thread(password_door(empty_url, first)) as door:
        settings = {
            "DATABASE_URL": door.url,
            "DATABASE_PASSWORD_FILE": str(path),
            "COINGECKO_BASE_URL": "http://127.0.0.1:1/api/v3",
            "LOG_LEVEL": "debug",
        }
        with served(tmp_path, **settings) as server:
            server.await_line("waiting for the database")
            assert door.refused > 0
            path.write_text(first + "\n")
            with server.client() as client:
                eventually(lambda: client.get("/health/ready").status_code == 200, PATIENCE)
                answers = [client.get("/health/ready").text]
                door.password = second
                path.write_text(second)
                refused = door.refused
                door.cut_soon()
                door.restore_soon()
                eventually(lambda: client.get("/health/ready").status_code == 200, PATIENCE)
                for query in (
                    "{ currencies { code } }",
                    "mutation { refreshPrices(input: {wait: true}) { run { items { error } } } }",
                ):
                    answers += [asked(client, query)]
                assert door.refused == refused
            server.process.terminate()
            server.process.wait(60)
        shown = server.log.read_text()
    for secret in (wrong, first, second):
        for form in (secret, secret.replace("\\", "\\\\").replace('"', '\\"')):
            assert form not in shown
            assert not any(form in answer for answer in answers)
    assert "password authentication failed: [hidden]" in shown
    assert '"usd"' in answers[1]
    assert "CoinGecko cannot be reached" in answers[2]


def asked(client: httpx.Client, query: str) -> str:
    """Return the response once all parts of the server have reconnected."""
    headers = {"Authorization": f"Bearer {TOKEN}"}

    def ask() -> httpx.Response:
        return client.post("/graphql", json={"query": query}, headers=headers)

    eventually(lambda: ask().status_code == 200, PATIENCE)
    return ask().text


def test_generated_tokens_are_valid_in_eventbridge(tmp_path: Path) -> None:
    """https://docs.aws.amazon.com/eventbridge/latest/APIReference: ApiKeyValue's bounds."""
    token, _ = generated_token(tmp_path)
    value = f"Bearer {token.get_secret_value()}"
    assert len(value) <= 512
    assert ":" not in value
    assert value.isascii()
    assert value.isprintable()

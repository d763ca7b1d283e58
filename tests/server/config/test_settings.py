"""Settings: each invalid value gives one line that names it; no secret is shown."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.config.settings import Settings, SettingsError, load_settings
from tests.server.server_process import environment

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DATABASE_URL", "hunter2", "expected postgresql://"),
        ("RATE_LIMIT_POINTS", "1499999", "at least MAX_COST (1,500,000)"),
        ("RATE_LIMIT_STORAGE", "memcached://hunter2@h", "write it like redis://"),
        ("RATE_LIMIT_STORAGE", "redis://:hunter2@h:port", "write it like redis://"),
        ("TRUSTED_PROXIES", "10.0.0.1,proxy.example", "no address or network"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "no address or network"),
        ("TRUSTED_PROXIES", "*", "no address or network"),
        ("DATABASE_URL", "mysql://u:hunter2@h/db", "expected a postgresql:// address"),
        ("DATABASE_URL", "postgresql://u:hunter2@h:port/db", "port is not a number"),
        ("DATABASE_URL", "postgresql://u:pass@word:hunter2@h/db", "write @ as %40"),
        ("DATABASE_URL", "postgresql://u:hunter2@h/db?foo=bar", "'foo' is not supported"),
        ("DATABASE_URL", "postgresql://u:hunter2@h/db?sslmode=bogus", "sslmode must be one of"),
        ("DATA_DIR", "~nobody-of-that-name/x", "home"),
        ("REFRESH_TOKENS", ",", "no token"),
        ("READ_TOKENS", " , ,", "no token"),
        ("COINGECKO_BASE_URL", "nope", "valid URL"),
        ("COINGECKO_BASE_URL", "ftp://example.com", "URL scheme"),
        ("COINGECKO_PLAN", "free", "'keyless', 'demo' or 'pro'"),
        ("COINGECKO_REQUESTS_PER_MINUTE", "0", "greater than 0"),
        ("COINGECKO_REQUESTS_PER_MINUTE", "-1", "greater than 0"),
        ("COINGECKO_REQUESTS_PER_MINUTE", "nan", "input should be"),
        ("COINGECKO_REQUESTS_PER_MINUTE", "inf", "less than or equal"),
        ("COINGECKO_REQUESTS_PER_MINUTE", "many", "valid number"),
        ("COINS", ",", "at least one"),
        ("COINS", "   ", "at least one"),
        ("COINS", "bitcoin,../ping", "'../ping' cannot be a coin's id"),
        ("COINS", "bit coin", "cannot be a coin's id"),
        ("COINS", '["bitcoin","tron"]', "write ids as in bitcoin,ethereum"),
        ("COINS", "[bitcoin]", "cannot be a coin's id"),
        ("COINS", "bitcoin;tron", "cannot be a coin's id"),
        ("COINS", '{"bitcoin": 1}', "cannot be a coin's id"),
        ("CURRENCIES", "['usd', 'eur']", "write codes as in usd,eur"),
        ("COINS", "x" * 201, "cannot be a coin's id"),
        ("CURRENCIES", ",,", "at least one"),
        ("CURRENCIES", "usd,us dollar", "'us dollar' cannot be a currency"),
        ("CURRENCIES", "€", "cannot be a currency"),
        ("HISTORY_DAYS", "0", "greater than or equal to 1"),
        ("HISTORY_DAYS", "3651", "less than or equal to 3650"),
        ("HISTORY_DAYS", "a year", "valid integer"),
        ("HISTORY_DAYS", "1.5", "valid integer"),
        ("STALE_AFTER", "3", "duration like"),
        ("STALE_AFTER", "-3h", "duration like"),
        ("STALE_AFTER", "3 weeks", "duration like"),
        ("STALE_AFTER", "0s", "longer than 0"),
        ("STALE_AFTER", "9999999999999d", "longer than"),
        ("STALE_AFTER", "9" * 400 + "h", "longer than"),
        ("PORT", "http", "valid integer"),
        ("PORT", "-1", "greater than or equal to 0"),
        ("PORT", "65536", "less than or equal to 65535"),
        ("WORKERS", "two", "valid integer"),
        ("WORKERS", "0", "greater than or equal to 1"),
        ("WORKERS", "33", "less than or equal to 32"),
        ("CORS_ORIGINS", "app.example.com", "is no origin"),
        ("CORS_ORIGINS", "https://app.example.com/x", "without a path"),
        ("CORS_ORIGINS", "https://a.example.com,https://b.example.com/x", "b.example.com/x"),
        ("LOG_FORMAT", "xml", "'console' or 'json'"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_bad_values(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert words in line
    assert "\n" not in line
    assert len(line) < 250
    assert "hunter2" not in line
    assert "pydantic" not in line


def test_each_invalid_setting_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("LOG_FORMAT", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["PORT", "LOG_FORMAT"]


def test_a_key_with_the_keyless_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINGECKO_API_KEY", "hunter2")
    assert (load_settings().plan, load_settings().requests_per_minute) == ("demo", 30)
    monkeypatch.setenv("COINGECKO_PLAN", "keyless")
    with pytest.raises(SettingsError, match=r"^COINGECKO_PLAN: keyless sends no key") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.processes
def test_a_command_prints_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from server.cli.main import main; main()", "status"],
        env=environment({"PORT": "x", "DATABASE_URL": "postgresql://u:hunter2@h/db"}),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"coingraph: PORT: .+\n", done.stderr), done.stderr


def test_defaults() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert len(settings.coins) == 11
    assert settings.currencies == ("usd", "eur", "gbp", "jpy")
    assert (settings.history_days, settings.stale_after) == (90, timedelta(hours=3))
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.plan, settings.requests_per_minute) == ("keyless", 6)
    assert settings.refresh_tokens == settings.read_tokens == settings.cors_origins == ()


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_value_is_unset(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    default = load_settings()
    monkeypatch.setenv(name.upper(), "")
    assert load_settings() == default


def test_good_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "DATABASE_URL": "postgres://u:hunter2@h:5433/db?sslmode=require",
        "DATA_DIR": "~/prices",
        "HOME": str(tmp_path),
        "REFRESH_TOKENS": " new , old,new,",
        "COINS": "Bitcoin, ethereum ,bitcoin",
        "CURRENCIES": "USD,eur",
        "STALE_AFTER": "1.5 h",
        "CORS_ORIGINS": "http://localhost:3000,https://app.example.com",
        "LOG_LEVEL": "debug",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    tokens = [token.get_secret_value() for token in settings.refresh_tokens]
    assert tokens == ["new", "old"], "both are valid while callers move over"
    assert settings.data_dir == tmp_path / "prices"
    assert (settings.coins, settings.currencies) == (("bitcoin", "ethereum"), ("usd", "eur"))
    assert settings.stale_after == timedelta(minutes=90)
    assert settings.cors_origins == ("http://localhost:3000", "https://app.example.com")
    monkeypatch.setenv("CORS_ORIGINS", "*")
    assert load_settings().cors_origins == ("*",)


@pytest.mark.parametrize(
    ("written", "meant"), [("90s", 90), ("15m", 900), ("6h", 21_600), ("1d", 86_400)]
)
def test_durations(monkeypatch: pytest.MonkeyPatch, written: str, meant: int) -> None:
    monkeypatch.setenv("STALE_AFTER", written)
    assert load_settings().stale_after == timedelta(seconds=meant)


def test_a_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=8100\nHOST=0.0.0.0\nSOMETHING_ELSE=1\nCOINS=\n")
    monkeypatch.setenv("PORT", "8200")
    settings = load_settings(history_days=7)
    assert (settings.port, settings.host, settings.history_days) == (8200, "0.0.0.0", 7)  # noqa: S104 - a value, nothing is bound
    assert len(settings.coins) == 11


def test_secrets_are_not_shown() -> None:
    settings = load_settings(
        database_url="postgresql://u:hunter2@h/db",
        refresh_tokens="hunter2,hunter2b",
        read_tokens="hunter2",
        coingecko_api_key="hunter2",
    )
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in shown


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(load_settings(), "port", 1)  # noqa: B010 - mypy knows that it is frozen


def test_every_setting_is_documented() -> None:
    text = (ROOT / ".env.example").read_text()
    named = re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=", text, re.MULTILINE)
    assert sorted(named) == sorted(name.upper() for name in Settings.model_fields)


def test_the_example_is_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commented-out lines have the default values, except for unset ones."""
    text = (ROOT / ".env.example").read_text()
    lines = re.findall(r"^#([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE)
    default = load_settings()
    for name, value in lines:
        examples = {"DATABASE_URL", "CORS_ORIGINS", "COINGECKO_PLAN", "TRUSTED_PROXIES"}
        if name not in examples and not name.endswith("_FILE"):
            monkeypatch.setenv(name, value)
    assert load_settings() == default

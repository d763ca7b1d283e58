"""The values of settings: quotes around them, and hostile values of each setting."""

from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import HttpUrl

from server.config.settings import Settings, SettingsError, load_settings, settings_hints

FIELDS = Settings.model_fields
HOSTILE = [
    "\0", "a\0b", "1\n2", "a\nb", "1\r2", "\x1b[31m1", "1\x7f", "\u2028x\u2028y", "x" * 200_000,
    "9" * 5_000, "\u0661\u0662", "\uff19\uff10", "\uff19\uff10s", "9" * 30,
    "inf", "-inf", "nan", "NaN", "Infinity",
    "-1", "1_000", "1_0s", "0x10", "1e400", "0b1", "1,5", "1 5", "--1", "${PORT}", "%s%n", "\udcff",
    "true false", "[]", "{}", "null", "None", "' OR 1=1 --", "<script>", "../../etc/passwd",
]  # fmt: skip


def kinds(name: str) -> set[Any]:
    annotation = FIELDS[name].annotation
    return {annotation, *get_args(annotation)}


def is_strict(name: str) -> bool:
    """Return True if no hostile value is valid: numbers, durations, enumerations."""
    found = kinds(name)
    return (
        bool({int, float, bool, HttpUrl} & found)
        or "timedelta" in str(found)
        or ("Literal" in str(found))
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FIELDS))
def test_hostile_values(name: str) -> None:
    """Each gives one line that names the setting, or a valid value; never anything else."""
    for value in HOSTILE:
        if line := refusal(name, value):
            assert len(line) < 600, line
        else:
            assert not is_strict(name), f"{name} took {value!r}"
            assert not set(value) & set("\0\n\r\x1b\x7f\u2028"), f"{name} took {value!r}"


def refusal(name: str, value: str) -> str | None:
    """Return the line that rejects a value, None if it is accepted."""
    try:
        load_settings(**{name: value})
    except SettingsError as error:
        line = str(error)
    else:
        return None
    assert line.startswith(f"{name.upper()}: "), line
    assert line.isprintable(), line
    return line


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from(sorted(FIELDS)), value=st.text(max_size=300))
def test_any_text(name: str, value: str) -> None:
    refusal(name, value)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_that_docker_passes_on(monkeypatch: pytest.MonkeyPatch, quote: str) -> None:
    """`docker run --env-file` passes values on with their quotes."""
    values = {
        "READ_TOKENS": "s3cret-tok", "COINS": "tron,bitcoin", "PORT": "8100",
        "DATABASE_URL": "postgresql://u:s3cret-pw@h/db", "LIVE_EVERY": "60s",
        "CORS_ORIGINS": "https://a.example,https://b.example", "LOG_LEVEL": "debug",
        "COINGECKO_API_KEY": "s3cret-key", "HOST": "127.0.0.2", "INTROSPECTION": "false",
        "REFRESH_TOKENS": "", "HISTORY_DAYS": "",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, f"{quote}{value}{quote}")
    found = load_settings()
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert found == load_settings()
    assert [token.get_secret_value() for token in found.read_tokens] == ["s3cret-tok"]
    assert (found.coins, found.port) == (("tron", "bitcoin"), 8100)
    assert (found.live_every, found.introspection) == (timedelta(seconds=60), False)
    assert found.refresh_tokens == ()
    assert settings_hints() == []
    monkeypatch.setenv("READ_TOKENS", f"{quote}s3cret-tok{quote}")
    assert settings_hints() == [
        "READ_TOKENS: the quotes around its value are not part of it; leave them out"
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("'tok'", ["tok"]),
        ("\"'tok'\"", ["'tok'"]),
        ("'tok", ["'tok"]),
        ("to'k", ["to'k"]),
        ("'", ["'"]),
        ("'a','b'", ["'a'", "'b'"]),
        ("'a,b'", ["a", "b"]),
        ("  'tok'  ", ["tok"]),
        ("'tok\"", ["'tok\""]),
        ("tok\n", ["tok"]),
    ],
)
def test_quotes_that_are_part_of_a_token(
    monkeypatch: pytest.MonkeyPatch, written: str, meant: list[str]
) -> None:
    monkeypatch.setenv("READ_TOKENS", written)
    assert [token.get_secret_value() for token in load_settings().read_tokens] == meant


@pytest.mark.parametrize("written", ["'a','b'", 'a,"b"', "'a' , b"])
def test_quotes_around_tokens_of_a_list_give_a_hint(
    monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setenv("READ_TOKENS", written)
    assert settings_hints() == [
        "READ_TOKENS: the quotes around its entries are part of them; are they meant?"
    ]
    monkeypatch.setenv("READ_TOKENS", "a'b,'c,d\"")
    assert settings_hints() == []


def test_entries_of_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINS", "\"bitcoin\", 'tron'")
    assert load_settings().coins == ("bitcoin", "tron")


def test_quotes_in_the_env_file_follow_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("READ_TOKENS", raising=False)
    Path(".env").write_text("READ_TOKENS='\"tok\"'\n")
    assert [token.get_secret_value() for token in load_settings().read_tokens] == ['"tok"']


@pytest.mark.slow
@example("")
@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=30))
@settings(deadline=None)
def test_quoted_tokens_are_never_shown(middle: str) -> None:
    token = f"'s3cret{middle}"
    found = load_settings(read_tokens=token)
    assert "s3cret" not in repr(found)

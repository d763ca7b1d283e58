"""`.env`: read correctly, or rejected with one line that names it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.config.settings import SettingsError, load_settings, settings_hints
from tests.server.commands import one_line, run

TOKENS = "READ_TOKENS=s3cret-tok\n"


def tokens() -> list[str]:
    return [token.get_secret_value() for token in load_settings().read_tokens]


@pytest.mark.parametrize(
    "content",
    [
        TOKENS.encode(),
        TOKENS.encode("utf-8-sig"),
        b"# \xc3\xa9\r\n\r\nREAD_TOKENS=s3cret-tok\r\nCOINS=\r\n",
        b"READ_TOKENS='s3cret-tok'",
        b'export READ_TOKENS="s3cret-tok"  # a comment',
        b"  READ_TOKENS = s3cret-tok  ",
    ],
)
def test_accepted_files(content: bytes) -> None:
    Path(".env").write_bytes(content)
    assert tokens() == ["s3cret-tok"]
    assert settings_hints() == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TOKENS.encode("utf-16"), "is UTF-16, as Windows PowerShell writes; save it as UTF-8"),
        (b"\xfe\xff" + TOKENS.encode("utf-16-be"), "is UTF-16"),
        (TOKENS.encode("utf-16-le"), "has NUL characters; save it as UTF-8"),
        (b"PORT=1\n# caf\xe9\n" + TOKENS.encode(), "line 2 is not UTF-8; save it as UTF-8"),
        (bytes(range(256)), "is not UTF-8"),
        (b"READ_TOKENS s3cret-tok\n", "line 1 is no NAME=value"),
        (b"\n\nREAD_TOKENS='s3cret-tok\n", "line 3 is no NAME=value"),
        (b"READ_TOKENS\n", "line 1: READ_TOKENS has no value; write READ_TOKENS="),
        (b"#" * 1_000_001, "is larger than 1,000,000 bytes"),
    ],
)
def test_rejected_values(content: bytes, words: str) -> None:
    Path(".env").write_bytes(content)
    line = refusal()
    assert words in line
    assert "s3cret" not in line


def refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    line = str(caught.value)
    assert line.startswith(".env: ")
    assert "\n" not in line
    return line


def test_a_path_that_is_no_regular_file() -> None:
    path = Path(".env")
    path.mkdir()
    assert "is not a regular file" in refusal()
    path.rmdir()
    os.mkfifo(path)
    assert "is not a regular file" in refusal()
    path.unlink()
    path.symlink_to("nowhere")
    assert "is a link to a file that does not exist" in refusal()
    path.unlink()
    path.symlink_to(".env")
    assert "cannot be read: " in refusal()
    path.unlink()
    Path("real").write_text(TOKENS)
    path.symlink_to("real")
    assert tokens() == ["s3cret-tok"]


@pytest.mark.processes
def test_an_unreadable_file(tmp_path: Path) -> None:
    """As an ordinary account, because root can read everything."""
    path = tmp_path / ".env"
    path.write_text(TOKENS)
    path.chmod(0)
    command = [
        sys.executable,
        "-c",
        "from server.config.settings import load_settings; load_settings()",
    ]
    if os.geteuid() == 0:
        # in this process's packages, which may be in root's own folders
        command[2] = (
            "import os; from server.config.settings import load_settings; "
            "os.setgroups([]); os.setgid(65534); os.setuid(65534); load_settings()"
        )
        tmp_path.chmod(0o755)
        for folder in tmp_path.parents[:2]:
            folder.chmod(0o755)
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).resolve().parents[3])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stderr.splitlines()[-1].endswith(
        "SettingsError: .env: cannot be read: Permission denied"
    ), done.stderr


@pytest.mark.processes
def test_a_command_prints_one_line(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(TOKENS.encode("utf-16"))
    assert one_line(run(["status"], {}, tmp_path)).startswith(".env: is UTF-16")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CURENCIES", "CURRENCIES"), ("READ_TOKEN", "READ_TOKENS"), ("CURRENCY", "CURRENCIES"),
        ("refresh_token", "REFRESH_TOKENS"), ("DATABASE_URI", "DATABASE_URL"), ("COIN", "COINS"),
        ("COINGECKO_APIKEY", "COINGECKO_API_KEY"), ("LOGLEVEL", "LOG_LEVEL"),
        ("READ_TOKENS_FILES", "READ_TOKENS_FILE"), ("HISTORY_DAY", "HISTORY_DAYS"),
    ],
)  # fmt: skip
def test_misspelt_names(name: str, meant: str) -> None:
    Path(".env").write_text(f"{name}=s3cret-value\nPORT=1\n")
    assert settings_hints() == [f".env: {name} is no setting; did you mean {meant}?"]


def test_names_of_other_programs() -> None:
    Path(".env").write_text(
        "POSTGRES_PASSWORD=x\nCOINGRAPH_LISTEN=y\nREFRESH_INTERVAL_SECONDS=1\nPATH=/bin\n"
        "HTTP_PROXY=x\nSENTRY_DSN=x\nMY_APP=1\nCURENCIES=\n"
    )
    assert settings_hints() == []


def test_misspelt_names_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only very similar names: the environment has names of all programs."""
    for name in ("READ_TOKEN", "HOSTNAME", "PORTS", "LANG", "WORKER_ID", "DATABASE"):
        monkeypatch.setenv(name, "s3cret")
    assert [hint for hint in settings_hints() if "did you mean" in hint] == [
        "READ_TOKEN is no setting; did you mean READ_TOKENS?"
    ]


def test_a_limit_that_was_a_setting_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("MAX_FIELDS=10\n")
    monkeypatch.setenv("MAX_DIRECTIVES_EACH", "3")
    load_settings()
    assert settings_hints() == [
        ".env: MAX_FIELDS is no setting any more, the limit is fixed: remove it",
        "MAX_DIRECTIVES_EACH is no setting any more, the limit is fixed: remove it",
    ]

"""The token file in DATA_DIR: one that another account may have planted or read is rejected."""

import io
import os
import pty
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server.access.token_file import TOKEN_FILE, TokenFileError, generated_token
from server.cli.startup import CommandError, with_token
from server.config.settings import Settings
from tests.server.server_process import COMMAND, SMALL, environment, served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="about modes and owners of files")
NOBODY = "http://127.0.0.1:9/api/v3"
PLANTED = "planted-token-that-somebody-knows"


def _mode(mode: int) -> Callable[[Path], None]:
    def plant(path: Path) -> None:
        path.write_text(PLANTED)
        path.chmod(mode)

    return plant


def _symlink(path: Path) -> None:
    target = path.parent / "elsewhere"
    target.write_text(PLANTED)
    target.chmod(0o600)
    path.symlink_to(target)


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent / "nothing")


def _hard_link(path: Path) -> None:
    _mode(0o600)(path.parent / "elsewhere")
    os.link(path.parent / "elsewhere", path)


def _of_others(path: Path) -> None:
    _mode(0o600)(path)
    os.chown(path, 4711, 4711)


def _empty_of_others(path: Path) -> None:
    path.touch(0o600)
    os.chown(path, 4711, 4711)


def _not_text(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(b"\xff\xfe" * 20)


def _huge(path: Path) -> None:
    path.touch(0o600)
    path.write_bytes(b"a" * 100_000)


as_root = pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="about chown")
WAYS = [
    *(pytest.param(_mode(mode), id=oct(mode)) for mode in (0o644, 0o640, 0o604, 0o660, 0o602)),
    *(_symlink, _dangling, _hard_link, os.mkfifo, os.mkdir, _not_text, _huge),
    *(pytest.param(plant, marks=as_root) for plant in (_of_others, _empty_of_others)),
]


@pytest.mark.skipif(sys.platform == "win32", reason="about hard links")
def test_a_file_left_by_an_interrupted_process_is_used(tmp_path: Path) -> None:
    _mode(0o600)(tmp_path / TOKEN_FILE)
    os.link(tmp_path / TOKEN_FILE, tmp_path / f".{TOKEN_FILE}.0123456789abcdef")
    kept = (tmp_path / TOKEN_FILE).read_text().strip()
    token, new = generated_token(tmp_path)
    assert (token.get_secret_value(), new) == (kept, False)
    assert [each.name for each in tmp_path.iterdir()] == [TOKEN_FILE]


@pytest.mark.parametrize("plant", WAYS)
def test_untrusted_token_files_are_rejected(plant: Callable[[Path], None], tmp_path: Path) -> None:
    plant(tmp_path / TOKEN_FILE)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TokenFileError) as caught:
        generated_token(tmp_path)
    shown = str(caught.value)
    assert str(tmp_path / TOKEN_FILE) in shown
    assert "Remove it" in shown
    assert "REFRESH_TOKENS" in shown
    assert "\n" not in shown
    assert PLANTED not in shown
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(CommandError, match="Remove it"):
        with_token(Settings(_env_file=None, data_dir=tmp_path))


def test_names_planted_for_the_scratch_file_get_no_token(tmp_path: Path) -> None:
    """An earlier version named it after the process and opened it with O_TRUNC."""
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / f".{TOKEN_FILE}.{os.getpid()}").symlink_to(victim)
    token, new = generated_token(tmp_path)
    assert new
    assert victim.read_text() == "untouched"
    assert generated_token(tmp_path) == (token, False)


def test_the_umask_does_not_open_the_file(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        generated_token(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / TOKEN_FILE).stat().st_mode) == 0o600


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_the_token_is_printed_on_terminals_only(
    stream: type[io.StringIO], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    (token,) = with_token(Settings(_env_file=None, data_dir=tmp_path)).refresh_tokens
    first = shown.getvalue()
    assert str(tmp_path / TOKEN_FILE) in first
    assert (token.get_secret_value() in first) is (stream is Terminal)
    with_token(Settings(_env_file=None, data_dir=tmp_path))
    assert shown.getvalue() == first


@pytest.mark.processes
def test_the_generated_token_is_in_no_log(tmp_path: Path) -> None:
    with served(
        tmp_path, REFRESH_TOKENS="", LOG_LEVEL="debug", COINGECKO_BASE_URL=NOBODY
    ) as server:
        server.await_line("serving")
        server.process.terminate()
        server.process.wait(60)
    file = tmp_path / ".coingraph" / TOKEN_FILE
    log = server.log.read_text()
    assert file.read_text().strip() not in log
    assert f"Refresh token: created and stored in {file.relative_to(tmp_path)}" in log


@pytest.mark.processes
def test_a_planted_file_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / ".coingraph").mkdir()
    _mode(0o644)(tmp_path / ".coingraph" / TOKEN_FILE)
    with served(tmp_path, REFRESH_TOKENS="", COINGECKO_BASE_URL=NOBODY) as server:
        assert server.process.wait(60) == 2
    (line,) = [each for each in server.log.read_text().splitlines() if each.startswith("coingraph")]
    assert "is open to other accounts (mode 0644). Remove it" in line


@pytest.mark.processes
def test_a_terminal_shows_the_generated_token(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    settings = SMALL | {"REFRESH_TOKENS": "", "COINGECKO_BASE_URL": NOBODY}
    with subprocess.Popen(
        COMMAND, cwd=tmp_path, env=environment(settings), stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            shown = ""
            while "Refresh token" not in shown or not shown.endswith("\n"):
                shown += os.read(ours, 10_000).decode()
        finally:
            process.kill()
            os.close(ours)
    assert (tmp_path / ".coingraph" / TOKEN_FILE).read_text().strip() in shown

"""Folders and accounts of the embedded PostgreSQL, and what it rejects."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.postgres import embedded as embedded_module
from server.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError
from tests.server.postgres_processes import (
    ROOT,
    answer,
    answer_at,
    eventually,
    gone,
    is_private,
    query,
    servers_of,
    supervisor_of,
)

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform == "win32", reason="no embedded PostgreSQL there"),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about root")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that every account may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    "name", ["with space", 'it\'s "quoted" $HOME %20', "a,b:c", "x" * 200, "größe"]
)
def test_any_path_is_possible(made: Path, tmp_path: Path, name: str) -> None:
    data_dir = tmp_path / name
    shutil.copytree(made, data_dir)
    embedded = EmbeddedPostgres(data_dir)
    with embedded as url:
        assert answer(embedded) == 42
        assert answer_at(url) == 42
        assert is_private(embedded.socket_dir)
    if not embedded.socket_dir.is_relative_to(data_dir):
        eventually(lambda: not embedded.socket_dir.exists())


@pytest.mark.parametrize("kind", ["open", "link"])
def test_a_planted_socket_folder_is_refused(made: Path, tmp_path: Path, kind: str) -> None:
    embedded = EmbeddedPostgres(shutil.copytree(made, tmp_path / ("x" * 120)))
    if kind == "open":
        embedded.socket_dir.mkdir(mode=0o755)
    else:
        embedded.socket_dir.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedPostgresError, match=str(embedded.socket_dir)):
            embedded.start()
    finally:
        embedded.socket_dir.rmdir() if kind == "open" else embedded.socket_dir.unlink()


@pytest.mark.parametrize("version", ["17\n", None])
def test_another_major_is_refused(data_dir: Path, version: str | None) -> None:
    file = data_dir / "postgres/cluster/PG_VERSION"
    file.write_text(version) if version else file.unlink()
    with pytest.raises(EmbeddedPostgresError, match="move it away") as caught:
        EmbeddedPostgres(data_dir).start()
    assert "\n" not in str(caught.value)


def test_a_cluster_that_does_not_start_reports_the_reason(data_dir: Path) -> None:
    (data_dir / "postgres/cluster/postgresql.conf").write_text("no_such = setting\n")
    with pytest.raises(EmbeddedPostgresError, match=r"FATAL: .*configuration.*DATABASE_URL"):
        EmbeddedPostgres(data_dir).start()
    eventually(lambda: gone_from(data_dir))


def gone_from(data_dir: Path) -> bool:
    try:
        supervisor_of(data_dir)
    except StopIteration:
        return True
    return False


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"file.*DATABASE_URL"):
        EmbeddedPostgres(tmp_path / "file").start()


def test_missing_programs_are_one_line(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; sys.path.append(sys.argv[1])\n"
        "from server.postgres.embedded import EmbeddedPostgres\n"
        "EmbeddedPostgres(Path(sys.argv[2])).start()\n"
    )
    bare = [sys.executable, "-I", "-S", "-c", script, str(ROOT), str(tmp_path)]
    shown = subprocess.run(bare, capture_output=True, text=True, check=False).stderr
    assert "set DATABASE_URL" in shown.splitlines()[-1]


@as_root
def test_root_behind_a_closed_folder_stays_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    before = [folder.stat().st_mode for folder in tmp_path.parents]
    embedded = EmbeddedPostgres(tmp_path / "data")
    with embedded:
        assert query(embedded.socket_dir, "SELECT 1") == 1
    assert (tmp_path / "data/postgres/cluster").stat().st_uid == 0
    assert is_private(tmp_path)
    assert before == [folder.stat().st_mode for folder in tmp_path.parents]


@as_root
@pytest.mark.parametrize("owner", ["its own", "daemon"])
def test_root_takes_an_account_of_its_own_or_the_owner(open_dir: Path, owner: str) -> None:
    (open_dir / "data").mkdir()
    if owner == "daemon":
        uid = pwd.getpwnam(owner).pw_uid
        (open_dir / "data/postgres").mkdir(mode=0o700)
        os.chown(open_dir / "data/postgres", uid, uid)
    embedded = EmbeddedPostgres(open_dir / "data")
    with embedded:
        assert query(embedded.socket_dir, "SELECT 1") == 1
        uid = Path(embedded.socket_dir).stat().st_uid
        servers = servers_of(open_dir / "data")
        assert {uid_of(pid) for pid in servers} == {0, uid}  # the supervisor is root's
        os.kill(supervisor_of(open_dir / "data"), signal.SIGKILL)
        eventually(lambda: gone(servers))  # the switch of account keeps the tie to the supervisor
        embedded.start()
    assert (open_dir / "data/postgres/cluster").stat().st_uid == uid
    assert stat.S_IMODE(open_dir.stat().st_mode) == 0o755
    assert [each.name for each in (open_dir / "data").iterdir()] == ["postgres"]
    if owner == "its own":
        assert is_nobody_elses(uid)
    else:
        assert uid == pwd.getpwnam(owner).pw_uid


def uid_of(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def is_nobody_elses(uid: int) -> bool:
    """Return True if the system has no such account."""
    return uid not in {entry.pw_uid for entry in pwd.getpwall()}


@as_root
def test_no_process_of_nobody_reaches_roots_database(open_dir: Path) -> None:
    embedded = EmbeddedPostgres(open_dir / "data")
    with embedded:
        for name in ("nobody", "daemon"):
            os.seteuid(pwd.getpwnam(name).pw_uid)
            try:
                with pytest.raises(PermissionError):
                    query(embedded.socket_dir, "SELECT 1")
                with pytest.raises(PermissionError):
                    next((open_dir / "data/postgres/cluster").iterdir())
                with pytest.raises(PermissionError):
                    os.kill(max(servers_of(open_dir / "data")), signal.SIGHUP)
            finally:
                os.seteuid(0)


@pytest.fixture
def of_nobody(made: Path, open_dir: Path) -> Path:
    """A data directory as an earlier version created it for root."""
    data_dir = Path(shutil.copytree(made, open_dir / "data"))
    data_dir.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    os.chown(data_dir / "postgres", nobody.pw_uid, nobody.pw_gid)
    for place, folders, files in os.walk(data_dir / "postgres/cluster"):
        for path in (place, *(f"{place}/{each}" for each in (*folders, *files))):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
    (data_dir / "postgres/socket").mkdir(mode=0o700, exist_ok=True)
    os.chown(data_dir / "postgres/socket", nobody.pw_uid, nobody.pw_gid)
    return data_dir


@as_root
@pytest.mark.parametrize("moment", ["at once", "cut short", "cut short later"])
def test_a_cluster_of_nobody_is_taken_over(of_nobody: Path, moment: str) -> None:
    home = of_nobody / "postgres"
    if moment == "cut short":  # by a kill, after `nobody` was locked out
        os.chown(home, 0, 0)
    elif moment == "cut short later":
        os.chown(home, 0, 0)
        (home / "cluster").rename(home / "cluster-taken-over")
        os.chown(home / "cluster-taken-over", 52_000, 52_000)
    embedded = EmbeddedPostgres(of_nobody)
    with embedded:
        assert answer(embedded) == 42
    owners = {path.lstat().st_uid for path in (home, *(home / "cluster").rglob("*"))}
    assert len(owners) == 1
    assert is_nobody_elses(owners.pop())
    with embedded:
        assert answer(embedded) == 42


@as_root
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_links_in_a_cluster_of_nobody_are_not_followed(of_nobody: Path, kind: str) -> None:
    """Processes of `nobody` could plant them to obtain files of root."""
    victim = of_nobody / "victim"
    victim.touch(0o600)
    link = of_nobody / "postgres/cluster/base/link"
    link.symlink_to(victim) if kind == "symbolic" else os.link(victim, link)
    with pytest.raises(EmbeddedPostgresError, match="base/link is a link") as caught:
        EmbeddedPostgres(of_nobody).start()
    assert "\n" not in str(caught.value)
    assert victim.stat().st_uid == 0
    link.unlink()
    with EmbeddedPostgres(of_nobody):
        pass
    assert victim.stat().st_uid == 0


@as_root
def test_a_cluster_run_as_nobody_is_unchanged(of_nobody: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    for lock in (of_nobody / "postgres").glob("*.lock"):
        os.chown(lock, nobody, nobody)
    embedded = EmbeddedPostgres(of_nobody)
    with embedded:
        assert answer(embedded) == 42
    assert (of_nobody / "postgres/cluster").stat().st_uid == nobody


@as_root
@pytest.mark.parametrize("whose", ["postgres", "postgres/cluster", "a closed folder"])
def test_folders_of_another_account_are_rejected(made: Path, open_dir: Path, whose: str) -> None:
    """The attempt changes nothing."""
    data_dir, daemon = Path(shutil.copytree(made, open_dir / "data")), pwd.getpwnam("daemon").pw_uid
    if whose == "a closed folder":
        shutil.rmtree(data_dir / "postgres")
    else:
        (data_dir / "postgres").chmod(0o755)
    if whose == "postgres/cluster":
        os.chown(data_dir / "postgres", daemon, daemon)
    data_dir.chmod(0o755)
    before = shapes(data_dir)
    embedded = EmbeddedPostgres(data_dir)
    os.seteuid(daemon)
    try:
        with pytest.raises(EmbeddedPostgresError, match="DATABASE_URL") as caught:
            embedded.start()
    finally:
        os.seteuid(0)
    shown = str(caught.value)
    assert "\n" not in shown
    assert ("Permission denied" if whose == "a closed folder" else "run as that") in shown
    assert shapes(data_dir) == before


def shapes(folder: Path) -> dict[Path, tuple[int, ...]]:
    """Return the owner, mode and modification time of everything below."""
    found = {each: each.lstat() for each in folder.rglob("*")}
    return {each: (it.st_uid, it.st_mode, it.st_mtime_ns) for each, it in found.items()}


@pytest.mark.parametrize("program", ["postgres", "initdb"])
def test_a_missing_program_is_named(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an incomplete installation."""
    binaries = tmp_path / "bin"
    found = embedded_module._binaries()  # noqa: SLF001 - where it would look
    shutil.copytree(found, binaries, symlinks=True)
    (binaries / program).unlink()
    monkeypatch.setattr(embedded_module, "_binaries", lambda: binaries)
    with pytest.raises(EmbeddedPostgresError, match=f"No such file.*{program}") as caught:
        EmbeddedPostgres(tmp_path / "data").start()
    assert "\n" not in str(caught.value)
    eventually(lambda: gone_from(tmp_path / "data"))

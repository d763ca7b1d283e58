"""The embedded PostgreSQL: its real processes are started, shared and killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from server.postgres import programs
from server.postgres.embedded import EmbeddedPostgres
from tests.server.postgres_processes import (
    ROOT,
    User,
    answer,
    eventually,
    gone,
    is_private,
    postmaster_of,
    query,
    servers_of,
    supervisor_of,
)

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(sys.platform == "win32", reason="no embedded PostgreSQL there"),
]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="about Linux")


@pytest.fixture
def embedded(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    embedded = EmbeddedPostgres(data_dir)
    embedded.start()
    yield embedded
    embedded.stop()


def test_starts_privately_and_leaves_nothing(tmp_path: Path) -> None:
    embedded = EmbeddedPostgres(tmp_path / "new" / "data")
    url = urlsplit(embedded.start())
    assert (url.scheme, url.netloc, url.path) == ("postgresql+asyncpg", "coingraph@", "/coingraph")
    assert parse_qs(url.query)["host"] == [str(embedded.socket_dir)]
    assert embedded.alive()

    home = tmp_path / "new/data/postgres"
    assert all(is_private(folder) for folder in (home, home / "cluster", embedded.socket_dir))
    assert query(embedded.socket_dir, "SHOW listen_addresses") == ""
    assert query(embedded.socket_dir, "SHOW server_version").startswith("18.")
    assert query(embedded.socket_dir, "SHOW data_checksums") == "on"
    servers = servers_of(tmp_path / "new/data")
    assert len(servers) > 3
    assert os.getsid(supervisor_of(tmp_path / "new/data")) != os.getsid(0)

    embedded.stop()
    assert gone(servers)
    assert not embedded.alive()
    embedded.stop()


@on_linux
def test_no_port_is_listened_on(embedded: EmbeddedPostgres, data_dir: Path) -> None:
    descriptors = Path(f"/proc/{postmaster_of(data_dir)}/fd").iterdir()
    sockets = {str(target.readlink())[8:-1] for target in descriptors}
    tables = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
    ports = [line.split()[9] for table in tables for line in table.read_text().splitlines()[1:]]
    assert sockets.isdisjoint(ports)


def test_the_server_lives_from_its_first_user_to_its_last(data_dir: Path) -> None:
    first, second = User(data_dir), EmbeddedPostgres(data_dir)
    assert first.await_use() == second.socket_dir
    servers = servers_of(data_dir)
    second.start()
    assert postmaster_of(data_dir) in servers

    first.leave()
    assert second.alive()
    assert answer(second) == 42
    second.stop()
    assert gone(servers)


def test_two_first_users_at_once_make_one_cluster(tmp_path: Path) -> None:
    users = [User(tmp_path), User(tmp_path)]
    identifier = "SELECT system_identifier FROM pg_control_system()"
    assert len({query(user.await_use(), identifier) for user in users}) == 1
    servers = servers_of(tmp_path)
    for user in users:
        user.leave()
    assert gone(servers)


def test_a_user_that_starts_while_the_last_one_stops_is_served(data_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from server.postgres.embedded import EmbeddedPostgres\n"
        "from tests.server.postgres_processes import query\n"
        "for _ in range(8):\n"
        "    embedded = EmbeddedPostgres(Path(sys.argv[1]))\n"
        "    with embedded: assert query(embedded.socket_dir, 'SELECT 1') == 1\n"
    )
    command = [sys.executable, "-c", script, str(data_dir)]
    users = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [user.wait(60) for user in users] == [0, 0, 0]
    eventually(lambda: not (data_dir / "postgres/cluster/postmaster.pid").exists())


def test_a_killed_user_leaves_no_server(data_dir: Path) -> None:
    user = User(data_dir)
    user.await_use()
    servers = servers_of(data_dir)
    user.kill()
    eventually(lambda: gone(servers))
    assert not (data_dir / "postgres/cluster/postmaster.pid").exists()  # it was shut down


def test_a_killed_postmaster_is_replaced(embedded: EmbeddedPostgres, data_dir: Path) -> None:
    killed = postmaster_of(data_dir)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: embedded.alive() and postmaster_of(data_dir) != killed)
    assert answer(embedded) == 42


@on_linux
def test_a_killed_supervisor_ends_its_server(embedded: EmbeddedPostgres, data_dir: Path) -> None:
    servers = servers_of(data_dir)
    os.kill(supervisor_of(data_dir), signal.SIGKILL)
    eventually(lambda: gone(servers))
    assert not embedded.alive()
    embedded.start()
    assert embedded.alive()
    assert answer(embedded) == 42


def test_a_start_follows_a_killed_supervisor_at_once(
    embedded: EmbeddedPostgres, data_dir: Path
) -> None:
    servers = servers_of(data_dir)
    os.kill(supervisor_of(data_dir), signal.SIGKILL)
    eventually(lambda: not embedded.alive())
    embedded.start()
    assert answer(embedded) == 42
    assert gone(servers)


def test_a_leftover_that_ends_by_itself(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends between being found and being stopped is no error."""
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    found = [[ended.pid], []]
    monkeypatch.setattr(programs, "servers_on", lambda _: found.pop(0))
    programs.end_leftovers(data_dir)
    assert not found


def test_all_killed_at_once(embedded: EmbeddedPostgres, data_dir: Path) -> None:
    servers = servers_of(data_dir)
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not embedded.alive())
    embedded.start()
    assert answer(embedded) == 42
    assert gone(servers)


@pytest.mark.parametrize(
    "content", ["", "{pid}", "{pid}\n{cluster}\n1\n5432\n\n\n 1 1\nready   \n", "no"]
)
def test_a_stale_pid_file_is_no_obstacle(data_dir: Path, content: str) -> None:
    cluster = data_dir / "postgres/cluster"
    with subprocess.Popen(["/bin/sleep", "600"]) as unrelated:
        text = content.format(pid=unrelated.pid, cluster=cluster)
        (cluster / "postmaster.pid").write_text(text)
        embedded = EmbeddedPostgres(data_dir)
        with embedded:
            assert answer(embedded) == 42
        assert unrelated.poll() is None
        unrelated.kill()


def interrupted(data_dir: Path) -> bool:
    """Kill a first start during its initdb; return True if it was in time."""
    home = data_dir / "postgres"
    user = User(data_dir)
    eventually(lambda: [*home.glob("initdb-*/base"), *home.glob("cluster")])
    os.kill(supervisor_of(data_dir), signal.SIGKILL)
    user.kill()
    return not (home / "cluster").exists()


def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    folders = (tmp_path / str(number) for number in range(20))  # now and then it is too late
    folder = next(each for each in folders if interrupted(each))
    embedded = EmbeddedPostgres(folder)
    with embedded:
        assert query(embedded.socket_dir, "SELECT 1") == 1

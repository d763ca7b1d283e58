"""The client certificates and keys that asyncpg reads before it connects.

Like libpq, asyncpg looks for them in `~/.postgresql`. In a container, HOME may belong to another
user; asyncpg then fails with PermissionError although no client certificate is needed, and an
OSError looks like an unreachable database.
"""

import os
from pathlib import Path
from typing import Any

from asyncpg import connect_utils

# https://www.postgresql.org/docs/current/libpq-envars.html
_NAMED = ("PGSSLCERT", "PGSSLKEY", "PGSSLROOTCERT", "PGSSLCRL", "PGSERVICEFILE")


class ClientFileError(Exception):
    """A file that the environment names cannot be read; the text is one line."""


def check_client_files() -> None:
    """Raise ClientFileError if a file that libpq's variables name cannot be read."""
    for name in _NAMED:
        path = os.environ.get(name)
        if not path:
            continue
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise ClientFileError(
                f"{name}: {path} cannot be read: {error.strerror}. It is needed to connect to "
                "PostgreSQL; let the server's account read it, or unset it."
            ) from None


def ignore_variables() -> None:
    """Delete libpq's variables, which are meant for another server than the embedded one.

    asyncpg uses them for whatever a URL leaves out, such as PGSSLMODE.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def pass_over_unreadable_homes() -> None:
    """Make asyncpg treat an unreadable default file as missing. It has no setting for that."""
    internals: Any = connect_utils  # its stubs leave out private names
    usual = internals._dot_postgresql_path  # noqa: SLF001 - see above

    def readable(filename: str) -> Path | None:
        try:
            path: Path | None = usual(filename)
            if path is None or not path.exists():
                return path
            with path.open("rb"):
                return path
        except (OSError, RuntimeError):  # RuntimeError: a loop of symbolic links
            return None

    internals._dot_postgresql_path = readable  # noqa: SLF001 - see above

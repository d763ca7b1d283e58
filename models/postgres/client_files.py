"""The files that asyncpg reads before it connects: certificates and keys of the client.

Like libpq, it looks for them in `~/.postgresql`. In a container HOME may belong to somebody else;
there asyncpg fails with PermissionError although nobody wants a client certificate, and an OSError
looks like a database that is away.
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
    """Raise ClientFileError for a file that is named for the connection and cannot be read."""
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
    """Drop libpq's variables, which are about another server: the URL of our own says everything.

    asyncpg takes from them whatever a URL leaves out, such as PGSSLMODE.
    """
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def pass_over_unreadable_homes() -> None:
    """Let asyncpg take a default file that it may not look at for one that does not exist.

    It has no setting for that.
    """
    internals: Any = connect_utils  # its stubs leave out what is private
    usual = internals._dot_postgresql_path  # noqa: SLF001 - see above

    def readable(filename: str) -> Path | None:
        try:
            path: Path | None = usual(filename)
            if path is None or not path.exists():
                return path
            with path.open("rb"):
                return path
        except (OSError, RuntimeError):  # a loop of links
            return None

    internals._dot_postgresql_path = readable  # noqa: SLF001 - see above

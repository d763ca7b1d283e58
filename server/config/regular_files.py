"""Reads small files named by settings, never from a pipe and never without a size limit."""

import stat
from pathlib import Path


class UnreadableError(Exception):
    """The file cannot be read. The message continues a sentence that names the file."""


def read_regular_file(path: Path, most_bytes: int) -> bytes:
    """Read a file of at most `most_bytes`. Raises UnreadableError and FileNotFoundError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableError("is not a regular file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # an invalid path: a NUL in it
        raise UnreadableError(f"cannot be read: {error}") from None
    if len(content) > most_bytes:
        raise UnreadableError(f"is larger than {most_bytes:,} bytes")
    return content

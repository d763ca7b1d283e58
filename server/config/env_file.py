"""Checks `.env` and lists its names.

An unreadable `.env` is an error. Ignoring it would ignore its READ_TOKENS and open all reads.
"""

import io
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from dotenv.parser import parse_stream

from server.config.regular_files import UnreadableError, read_regular_file

_UTF_8 = "save it as UTF-8"
MOST_BYTES = 1_000_000


def check_env_file(path: Path) -> None:
    """Raise ValueError, with one line that names the file, if `.env` exists and is malformed."""
    text = _text(path)
    for binding in parse_stream(io.StringIO(text)):
        blank = binding.original.string.partition(binding.original.string.strip())[0]
        line = f"{path}: line {binding.original.line + blank.count(chr(10))}"
        if binding.error:
            raise ValueError(f"{line} is no NAME=value")
        if binding.key and binding.value is None:
            raise ValueError(f"{line}: {binding.key[:60]} has no value; write {binding.key[:60]}=")


def names_in(path: Path) -> list[str]:
    """Return the names with a value in a valid `.env`, in order; empty without the file."""
    bindings = parse_stream(io.StringIO(_text(path)))
    return [binding.key for binding in bindings if binding.key and binding.value]


def _text(path: Path) -> str:
    """Read the file as UTF-8, with or without a byte order mark."""
    content = _bytes(path)
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        raise ValueError(f"{path}: is UTF-16, as Windows PowerShell writes; {_UTF_8}")
    content = content.removeprefix(BOM_UTF8)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}: line {line} is not UTF-8; {_UTF_8}") from None
    if "\0" in text:
        raise ValueError(f"{path}: has NUL characters; {_UTF_8}")
    return text


def _bytes(path: Path) -> bytes:
    try:
        return read_regular_file(path, MOST_BYTES)
    except FileNotFoundError:
        if path.is_symlink():
            raise ValueError(f"{path}: is a link to a file that does not exist") from None
        return b""
    except UnreadableError as error:
        raise ValueError(f"{path}: {error}") from None

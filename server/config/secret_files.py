"""Secrets in files, as Docker and Kubernetes mount them: NAME_FILE in place of NAME."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from server.config.regular_files import UnreadableError, read_regular_file

MOST_BYTES = 65_536
SUFFIX = "_file"


class SecretFileError(OSError):
    """A file holds no valid secret. The message is one line with the setting and the file."""


def read_secret(setting: str, path: Path) -> str:
    """Read a secret, without the line break at its end. Raises SecretFileError."""
    where = f"{setting}: {str(path)[:200]!r}"
    try:
        text = read_regular_file(path.expanduser(), MOST_BYTES).decode("utf-8-sig").rstrip("\r\n")
    except (FileNotFoundError, RuntimeError):  # RuntimeError: the account of `~` is unknown
        raise SecretFileError(f"{where} does not exist") from None
    except UnreadableError as error:
        raise SecretFileError(f"{where} {error}") from None
    except UnicodeDecodeError:
        raise SecretFileError(f"{where} is not UTF-8 text") from None
    if "\0" in text:
        raise SecretFileError(f"{where} is not UTF-8 text")
    if not text.strip():
        raise SecretFileError(f"{where} is empty")
    return text


def with_secrets_of_files(values: dict[str, Any], settings: Collection[str]) -> dict[str, Any]:
    """Return `values` with each secret whose file is named. Raises ValueError with one line."""
    filled = dict(values)
    for name, path in values.items():
        plain = name.removesuffix(SUFFIX)
        if plain == name or name not in settings or not path:
            continue
        if values.get(plain):
            raise ValueError(
                f"{plain.upper()}: is set, and {name.upper()} too; set only one of them"
            )
        try:
            filled[plain] = read_secret(name.upper(), Path(path))
        except SecretFileError as error:
            raise ValueError(str(error)) from None
    return filled

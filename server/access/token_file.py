"""The generated refresh token, in a file that no other account can plant or read."""

import contextlib
import os
import secrets
import stat
import time
from pathlib import Path

from pydantic import SecretStr

TOKEN_FILE = "refresh-token"  # noqa: S105 - a file's name
_MOST_BYTES = 4_096
_LINKED_SECONDS = 2.0  # time to remove the temporary name of a new file
_SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK if os.name == "posix" else 0


class TokenFileError(Exception):
    """The file cannot be trusted or used. The message is one line with the file and a remedy."""


def generated_token(data_dir: Path) -> tuple[SecretStr, bool]:
    """Read the token stored in `data_dir`, or make one; return it and True if it is new.

    The file must be a regular one of this account that no other account may read or write: else
    another account may have planted it, or may know the token. If two processes make one at the
    same time, the first to finish wins. Raises TokenFileError.
    """
    path = data_dir / TOKEN_FILE
    try:
        if stored := _read(path):
            return SecretStr(stored), False
        token = secrets.token_urlsafe(32)
        if not _make(path, token):
            return SecretStr(_read(path)), False
    except OSError as error:
        raise TokenFileError(
            f"The refresh token in {data_dir} cannot be read or made: {error.strerror}. "
            "Correct that, or set REFRESH_TOKENS."
        ) from None
    return SecretStr(token), True


def _make(path: Path, token: str) -> bool:
    """Create the file atomically; return False if another process was faster."""
    scratch = path.with_name(f".{TOKEN_FILE}.{secrets.token_hex(8)}")
    # O_EXCL: never write the token into a file or through a link that exists already
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFELY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(token + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # empty, as `_read` has checked
        os.link(scratch, path, follow_symlinks=False)
    except FileExistsError:
        return False
    finally:
        scratch.unlink()
    return True


def _read(path: Path) -> str:
    """Read the token; "" if there is none."""
    until = time.monotonic() + _LINKED_SECONDS
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | _SAFELY)
        except FileNotFoundError:
            return ""
        except OSError:
            if path.is_symlink():
                raise TokenFileError(_refusal(path, "is a symbolic link")) from None
            raise
        try:
            found = os.fstat(descriptor)  # of the open file, which may have been renamed meanwhile
            if (fault := _fault(found)) is None:
                return _text(path, os.read(descriptor, _MOST_BYTES + 1))
        finally:
            os.close(descriptor)
        if found.st_nlink == 1:
            raise TokenFileError(_refusal(path, fault))
        if time.monotonic() > until and not _removed_first_names(path, found):
            raise TokenFileError(_refusal(path, fault))
        time.sleep(0.01)


def _removed_first_names(path: Path, found: os.stat_result) -> int:
    """Remove temporary names left by a process that died within `_make`; return how many."""
    left = [
        name
        for name in path.parent.glob(f".{TOKEN_FILE}.*")
        if os.path.samestat(name.lstat(), found)
    ]
    for name in left:
        name.unlink(missing_ok=True)
    return len(left)


def _fault(found: os.stat_result) -> str | None:
    """Return why a file cannot be trusted, None if it can."""
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if os.name != "posix":
        return None
    if found.st_uid != os.geteuid():
        return f"belongs to another account (uid {found.st_uid}), which knows its token"
    if mode := stat.S_IMODE(found.st_mode) & 0o077:
        return f"is open to other accounts (mode {stat.S_IMODE(found.st_mode) & 0o700 | mode:04o})"
    if found.st_nlink != 1:
        return "has another name, a hard link that can be removed instead"
    return None


def _text(path: Path, content: bytes) -> str:
    text = content.decode("utf-8", "replace").strip()
    if len(content) > _MOST_BYTES or not (text.isprintable() and "\ufffd" not in text):
        raise TokenFileError(_refusal(path, "holds no token"))
    return text


def _refusal(path: Path, fault: str) -> str:
    return (
        f"{path} {fault}. Remove it, and the next start makes a new one; or set REFRESH_TOKENS. "
        "Keep DATA_DIR in a folder that no other account may write to."
    )

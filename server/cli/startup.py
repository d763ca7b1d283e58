"""What every command does first: read the settings, find or start the database."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import structlog
from pydantic import SecretStr

from ingestion.coingecko.errors import AccessRefused
from models.postgres.circuit_breaker import reason_of
from models.postgres.client_files import ClientFileError, check_client_files, ignore_variables
from models.postgres.database import (
    DatabaseReadOnlyError,
    DatabaseRefusedError,
    DatabaseUnavailableError,
    UnsupportedServerError,
)
from models.postgres.migrate import NewerDatabaseError
from server.access.token_file import TOKEN_FILE, TokenFileError, generated_token
from server.config.settings import Settings, SettingsError, load_settings, settings_hints
from server.logs import redact_in_logs, set_up_logs
from server.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError

log = structlog.get_logger("coingraph.settings")

FAILED = 2


class CommandError(Exception):
    """A command cannot go on; the text is for people."""


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with a clear line instead of a traceback."""
    try:
        yield
    except (CommandError, SettingsError, EmbeddedPostgresError, AccessRefused) as error:
        for line in str(error).splitlines():
            _say(f"coingraph: {line}")
        raise SystemExit(FAILED) from None


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Raise CommandError for a database that a person has to do something about.

    One that is away may come back: DatabaseUnavailableError passes.
    """
    try:
        yield
    except DatabaseRefusedError as error:
        raise CommandError(f"DATABASE_URL: {error.remedy}") from None
    except (UnsupportedServerError, NewerDatabaseError) as error:
        raise CommandError(f"DATABASE_URL: {error}") from None


@contextlib.contextmanager
def database_needed() -> Iterator[None]:
    """Raise CommandError for a database that is away, too."""
    try:
        with database_errors():
            yield
    except DatabaseReadOnlyError as error:
        raise CommandError(f"{error} Try again when it does.") from None
    except DatabaseUnavailableError as error:
        # what a server says may quote a password; the operating system does not
        why = f" ({reason_of(error)})" if isinstance(error.__cause__, OSError) else ""
        raise CommandError(f"{str(error).removesuffix('.')}{why}. Check DATABASE_URL.") from None


def _say(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # as with the log, nothing fails for a line
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - what a command says


def read_settings(**given: Any) -> Settings:  # noqa: ANN401 - the fields of Settings
    settings = load_settings(**given)
    set_up_logs(settings.log_format, settings.log_level, settings.secrets)
    for hint in settings_hints():
        log.warning(hint)
    return settings


@contextlib.contextmanager
def opened(
    settings: Settings, *, writes: bool = True
) -> Iterator[tuple[Settings, EmbeddedPostgres | None]]:
    """Give settings that name a database, the embedded one where none is set.

    What `writes` nothing makes no embedded database either: it only starts one that is there.
    """
    if settings.database_url is not None:
        try:
            check_client_files()
        except ClientFileError as error:
            raise CommandError(str(error)) from None
        yield settings, None
        return
    ignore_variables()
    if not (writes or EmbeddedPostgres(settings.data_dir).exists()):
        raise CommandError(
            f"There is no database in DATA_DIR ({settings.data_dir}) yet: run `coingraph serve` or "
            "`coingraph migrate`, or set DATABASE_URL."
        )
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(
            f"DATA_DIR: {settings.data_dir} cannot be made: {error.strerror}. "
            "Set DATA_DIR to a folder that can be written."
        ) from None
    embedded = EmbeddedPostgres(settings.data_dir)
    try:
        url = embedded.start()
        yield settings.model_copy(update={"database_url": SecretStr(url)}), embedded
    finally:
        embedded.stop()


def with_token(settings: Settings) -> Settings:
    """Make a refresh token where none is set and the database is our own.

    Only a terminal shows it: elsewhere, standard error is a log that others may read.
    """
    if settings.refresh_tokens:
        return settings
    try:
        token, new = generated_token(settings.data_dir)
    except TokenFileError as error:
        raise CommandError(str(error)) from None
    redact_in_logs(token.get_secret_value())
    if new:
        path = settings.data_dir / TOKEN_FILE
        shown = f": {token.get_secret_value()}" if _is_terminal() else ""
        _say(f"Refresh token: made, and kept in {path}{shown}")
    return settings.model_copy(update={"refresh_tokens": (token,)})


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (OSError, ValueError, AttributeError):  # closed, or none
        return False

"""The startup of every command: reads the settings, finds or starts the database."""

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import structlog
from pydantic import SecretStr

from models.postgres.circuit_breaker import reason_of
from models.postgres.client_files import ClientFileError, check_client_files, ignore_variables
from models.postgres.database import (
    Database,
    DatabaseReadOnlyError,
    DatabaseRefusedError,
    DatabaseUnavailableError,
    UnsupportedServerError,
)
from models.postgres.migrate import NewerDatabaseError, OutdatedDatabaseError
from server.access.token_file import TOKEN_FILE, TokenFileError, generated_token
from server.bootstrap.database import make_database
from server.config.settings import Settings, SettingsError, load_settings, settings_hints
from server.logs import redact_in_logs, set_up_logs
from server.postgres.embedded import EmbeddedPostgres, EmbeddedPostgresError

log = structlog.get_logger("coingraph.settings")

FAILED = 2


class CommandError(Exception):
    """The command fails. The message is printed to the user."""


@contextlib.contextmanager
def one_line_errors() -> Iterator[None]:
    """Exit with a one-line message instead of a traceback."""
    try:
        yield
    except (CommandError, SettingsError, EmbeddedPostgresError) as error:
        for line in str(error).splitlines():
            _print(f"coingraph: {line}")
        raise SystemExit(FAILED) from None


@contextlib.contextmanager
def database_errors() -> Iterator[None]:
    """Turn database errors that need a person into CommandError.

    DatabaseUnavailableError passes: the database may come back.
    """
    try:
        yield
    except DatabaseRefusedError as error:
        raise CommandError(f"DATABASE_URL: {error.remedy}") from None
    except (UnsupportedServerError, NewerDatabaseError) as error:
        raise CommandError(f"DATABASE_URL: {error}") from None


@contextlib.contextmanager
def database_needed() -> Iterator[None]:
    """Turn all database errors into CommandError, also an unavailable database."""
    try:
        with database_errors():
            yield
    except DatabaseReadOnlyError as error:
        raise CommandError(f"{error} Try again when it does.") from None
    except DatabaseUnavailableError as error:
        # the message of a server may quote a password, that of the operating system does not
        why = f" ({reason_of(error)})" if isinstance(error.__cause__, OSError) else ""
        raise CommandError(f"{str(error).removesuffix('.')}{why}. Check DATABASE_URL.") from None


def _print(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # as in the log, an unwritable line is dropped
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the output of a command


def read_settings(**given: Any) -> Settings:  # noqa: ANN401 - the fields of Settings
    """Read the settings, set up the logs and log hints. `given` overrides the environment."""
    settings = load_settings(**given)
    set_up_logs(settings.log_format, settings.log_level, settings.secrets)
    for hint in settings_hints():
        log.warning(hint)
    return settings


@contextlib.contextmanager
def opened(
    settings: Settings, *, writes: bool = True
) -> Iterator[tuple[Settings, EmbeddedPostgres | None]]:
    """Yield settings with a `database_url`, of the embedded database if none is set.

    Without `writes`, an existing embedded database is started but none is created.
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
    """Return settings with a refresh token, generated and stored if none is set.

    A new token is printed on a terminal only: elsewhere, standard error is a log that other people
    may read.
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
        _print(f"Refresh token: created and stored in {path}{shown}")
    return settings.model_copy(update={"refresh_tokens": (token,)})


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (OSError, ValueError, AttributeError):  # closed or missing
        return False


@contextlib.asynccontextmanager
async def opened_database(settings: Settings) -> AsyncIterator[Database]:
    """Yield the database; its errors become CommandError."""
    database = make_database(settings)
    try:
        with database_needed():
            yield database
    except OutdatedDatabaseError as error:
        raise CommandError(str(error)) from None
    finally:
        await database.close()

"""A PostgreSQL session with settings of its own, whatever the role or database sets."""

import re
from typing import Any

import asyncpg

OLDEST_SERVER = 14

# Settings that results depend on, and limits that this code sets itself (see
# models.postgres.circuit_breaker): a session that waits for notifications is idle for hours.
# PgBouncer refuses most of these in the startup message, so they are set afterwards.
_SETTINGS = {
    "statement_timeout": "0",  # first: the others may take longer than a tiny one allows
    "lock_timeout": "0",
    "idle_session_timeout": "0",
    # longer than any transaction here; releases the rows that a stuck process has locked
    "idle_in_transaction_session_timeout": "'2min'",
    "default_transaction_isolation": "'read committed'",
    "default_transaction_deferrable": "off",
    "timezone": "'UTC'",
    "datestyle": "'ISO, MDY'",
    "intervalstyle": "'postgres'",
    "bytea_output": "'hex'",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    # A machine that loses power does not close its connections: without these, PostgreSQL would
    # keep the locks of its sessions for two hours.
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
}
_SINCE = {"transaction_timeout": (17, "0")}
# If the URL's `options` set these, the user's values stay.
_OVERRIDABLE = {
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
}
_OPTION = re.compile(r"(?:-c\s*|--)([\w.-]+)\s*=")

# The search path becomes the one schema that has the tables: the first of the path's schemas and
# public that has them, or the path's first if none does.
_FACTS = """
    SELECT pg_is_in_recovery() AS standby,
           current_setting('transaction_read_only') = 'on' AS read_only,
           pg_backend_pid() AS pid,
           $1 OR set_config('search_path', quote_ident(coalesce(
               (SELECT n.nspname
                FROM pg_catalog.pg_class AS c
                JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relname = 'price_hourly' AND c.relkind IN ('r', 'p')
                  AND n.nspname = ANY (current_schemas(false) || 'public'::name)
                ORDER BY array_position(current_schemas(false), n.nspname) NULLS LAST
                LIMIT 1),
               nullif(current_schema(), 'pg_catalog'),
               'public')::text), false) IS NOT NULL AS search_path
"""


class UnsupportedServerError(Exception):
    """The server is older than PostgreSQL 14."""


class Session(asyncpg.Connection):
    """An asyncpg connection that knows whether its server takes writes.

    `pooled` is True if a connection pooler is in between. `stale` is True if the session is to be
    replaced, because its server is not the preferred one.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - asyncpg's own
        super().__init__(*arguments, **more)
        self.pooled = False
        self.stale = False
        self._standby = self._read_only = self._refused = False

    async def set_up(self, options: str) -> None:
        """Set the session's settings, and detect a standby, a read-only server and a pooler.

        `options` is the URL's parameter. Raises UnsupportedServerError.
        """
        major = self.get_server_version().major
        if major < OLDEST_SERVER:
            raise UnsupportedServerError(
                f"PostgreSQL {OLDEST_SERVER} or newer is needed; this server is {major}. "
                "Point DATABASE_URL to a newer one, or unset it to use the embedded one."
            )
        given_options = {name.replace("-", "_").lower() for name in _OPTION.findall(options)}
        settings = _SETTINGS | {name: v for name, (since, v) in _SINCE.items() if major >= since}
        await self.execute(";".join(f"SET {name} = {v}" for name, v in settings.items()))
        facts = await self.fetchrow(_FACTS, "search_path" in given_options)
        assert facts is not None  # noqa: S101 - a SELECT without FROM has one row
        self._standby, self._read_only = facts["standby"], facts["read_only"]
        self.pooled = facts["pid"] != self.get_server_pid()
        if kept := given_options & _OVERRIDABLE:
            await self.execute(";".join(f"RESET {name}" for name in kept))

    @property
    def standby(self) -> bool:
        """True while the session's server is a standby."""
        return self._reported("in_hot_standby", otherwise=self._standby)

    @property
    def read_only(self) -> bool:
        """True while the session cannot write: on a standby, or by its settings."""
        by_default = self._reported("default_transaction_read_only", otherwise=self._read_only)
        return self._refused or self.standby or by_default

    def mark_read_only(self) -> None:
        """Record that PostgreSQL refused a write with the error 25006."""
        self._refused = True

    def _reported(self, name: str, *, otherwise: bool) -> bool:
        """Return a parameter that PostgreSQL reports on change; a pooler's may be outdated."""
        unknown = self.pooled or self.is_closed()
        value = None if unknown else getattr(self.get_settings(), name, None)
        return otherwise if value is None else value == "on"

#!/usr/bin/env bash
# Runs a command with TEST_DATABASE_URL set to a PostgreSQL of the system's packages, over TCP.
# Usage: other_postgres.sh COMMAND...
# Without such a PostgreSQL it says so and succeeds; with CI=true it fails.
set -euo pipefail

oldest=$(ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | head -n 1 || true)
if [ -z "$oldest" ]; then
    echo "No PostgreSQL in /usr/lib/postgresql: the tests on another PostgreSQL are skipped." >&2
    if [ "${CI:-}" = true ]; then exit 1; fi
    exit 0
fi
bin=$(dirname "$oldest")
port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
data=$(mktemp -d)

as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

stop() {
    as_postgres "$bin/pg_ctl" -D "$data/cluster" -m fast stop >/dev/null || true
    rm -rf "$data"
}

if [ "$(id -u)" = 0 ]; then chown postgres "$data"; fi
trap stop EXIT
as_postgres "$bin/initdb" -D "$data/cluster" -U postgres -A trust -E UTF8 --locale C.UTF-8 >/dev/null
options=(-c "port=$port" -c listen_addresses=127.0.0.1 -c max_connections=300 -c fsync=off
    -c full_page_writes=off -c synchronous_commit=off -k "$data")
as_postgres "$bin/pg_ctl" -D "$data/cluster" -l "$data/log" -w -o "${options[*]}" start >/dev/null
echo "The same tests on $("$bin/postgres" --version):"
TEST_DATABASE_URL=postgresql://postgres@127.0.0.1:$port/postgres "$@"

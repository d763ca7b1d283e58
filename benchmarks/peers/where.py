"""What the peers written in Python read from the environment."""

import os

DATABASE_URL = "BENCHMARK_DATABASE_URL"  # as SQLAlchemy's asyncpg dialect writes it
ANSWERS = "BENCHMARK_ANSWERS"  # the folder with the bytes that the bare routes return
POOL_SIZE = 10


def database_url() -> str:
    return os.environ[DATABASE_URL]


def asyncpg_url() -> str:
    return database_url().replace("+asyncpg", "")

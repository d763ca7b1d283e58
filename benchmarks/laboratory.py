"""What all measurements share: one PostgreSQL, a filled database, the ranges to query."""

import contextlib
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil

from benchmarks import databases
from benchmarks.databases import HISTORY_DAYS, HOURS, LONG_DAYS
from benchmarks.options import Options
from benchmarks.peers.catalog import Place
from benchmarks.questions import Range
from server.postgres.embedded import EmbeddedPostgres

_MARGIN = 48  # hours at either end that are outside all ranges
_RANGES = LONG_DAYS * 24 - HOURS - 2 * _MARGIN
_RECENT = HISTORY_DAYS * 24 - HOURS - 2 * _MARGIN


class Laboratory:
    """An embedded PostgreSQL with the filled database, whose URL is `url`."""

    def __init__(self, options: Options, url: str, postmaster: psutil.Process | None) -> None:
        self.options = options
        self.url = url
        self.postmaster = postmaster
        self.answers = options.folder / "answers"
        self.answers.mkdir(exist_ok=True)
        self._end = databases.last_hour(url) - timedelta(hours=_MARGIN)

    def range(self, number: int) -> Range:
        """Return a range of 2,160 points of one series. The first 85,000 numbers all differ."""
        return self._range("bitcoin", "usd", number % _RANGES)

    def recent(self, number: int, coin: str = "bitcoin", currency: str = "usd") -> Range:
        """Return a range of 90 days in which every loaded series has prices.

        There are only 72 of them, so further ones begin and end seconds earlier: other requests
        for the same points.
        """
        return self._range(coin, currency, number % _RECENT, number // _RECENT % 3_600)

    def _range(self, coin: str, currency: str, hours: int, seconds: int = 0) -> Range:
        end = self._end - timedelta(hours=hours, seconds=seconds)
        return Range(coin, currency, end - timedelta(hours=HOURS), end)

    def place(self, url: str | None = None) -> Place:
        return Place(url or self.url, self.answers, self.options.folder)

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[str]:
        """Create a copy of the filled database for the block and yield its URL."""
        try:
            yield databases.copy_database(self.url, name)
        finally:
            databases.drop_database(self.url, name)


@contextlib.contextmanager
def laboratory(options: Options) -> Iterator[Laboratory]:
    """Set everything up in `options.folder`, which is emptied before and removed after."""
    folder = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    postgres = EmbeddedPostgres(folder)
    try:
        url = postgres.start()
        databases.fill(url)
        yield Laboratory(options, url, _postmaster(folder))
    finally:
        postgres.stop(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _postmaster(folder: Path) -> psutil.Process:
    pid = (folder / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0]
    return psutil.Process(int(pid))

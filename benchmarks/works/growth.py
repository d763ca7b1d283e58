"""The same query on many times the rows: through coingraph, and in PostgreSQL alone."""

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from statistics import median

import orjson

from benchmarks import load
from benchmarks.databases import HISTORY_DAYS, fetch, run_sql
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.load import Target
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.questions import Ask

_ASKS = 60_000
_STEP = 10_000  # more than one round sends, lest a range comes twice
_EXPLAINED = 30

_COINS = """
    INSERT INTO coin (id, symbol, name)
    SELECT id || '-' || copy, symbol, name || ' ' || copy
    FROM generate_series(1, $COPIES) AS copy, coin
    WHERE id IN (SELECT coin_id FROM series WHERE last_bucket IS NOT NULL)
"""
_SERIES = """
    INSERT INTO series (coin_id, currency_code, revision, history_from, first_bucket, last_bucket,
        charted_to)
    SELECT coin_id || '-' || copy, currency_code, 1, history_from, first_bucket, last_bucket,
        charted_to
    FROM generate_series(1, $COPIES) AS copy, series
    WHERE last_bucket IS NOT NULL
"""
# Of each series what all have: one of them reaches further back.
_HOURS = """
    INSERT INTO price_hourly (series_id, bucket, observed_at, price, market_cap, volume)
    SELECT copied.id, bucket, observed_at, price * $COPY, market_cap * $COPY, volume
    FROM series
    JOIN series AS copied ON copied.coin_id = series.coin_id || '-$COPY'
     AND copied.currency_code = series.currency_code
    JOIN price_hourly ON price_hourly.series_id = series.id
     AND bucket >= now() - interval '$DAYS days'
    ORDER BY copied.id, bucket
"""
_EXPLAIN = """
    EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON)
    SELECT string_agg(timestamptz_send(bucket), ''), string_agg(float8send(price), '')
    FROM (
        SELECT bucket, price FROM price_hourly
        WHERE series_id = (SELECT id FROM series WHERE coin_id = $1 AND currency_code = 'usd')
          AND bucket >= $2 AND bucket < $3
        ORDER BY bucket
    ) AS hours
"""


def run(laboratory: Laboratory) -> Section:
    times = laboratory.options.enlargement
    with laboratory.copy("large") as large:
        _enlarge(large, times)
        urls = {"1 ×": laboratory.url, f"{times} ×": large}
        rows_of = {name: _count(url) for name, url in urls.items()}
        taken = _measure(laboratory, urls)
        explained = {name: _explained(laboratory, url) for name, url in urls.items()}
    title = f"the same query on {times} × the rows"
    table = [
        [name, f"{rows_of[name]:,}", _show(taken[name, False]), _show(taken[name, True]),
         f"{explained[name]:.2f}"]
        for name in urls
    ]  # fmt: skip
    small, big = (median(taken[name, False]) for name in urls)
    figure = Figure(title, "≤ 1.3 × its time", big / small, 1.3, at_most=True)
    remark = (
        "Median latency in ms from one connection, a different range each request, and the "
        "execution time of the range in PostgreSQL (EXPLAIN ANALYZE, median). The first column "
        "asks one series, which decides the figure; the second goes through all coins, which the "
        f"small database has few of. All series lie in the table one after the other, {times} "
        "copies of the simulator's."
    )
    header = (
        "database",
        "hourly rows",
        "one series, ms",
        "all coins in turn, ms",
        "PostgreSQL, ms",
    )
    return Section(title, header, table, [figure], [remark])


def _show(taken: Sequence[float]) -> str:
    return f"{median(taken):.2f} ({min(taken):.2f}–{max(taken):.2f})"


def _enlarge(url: str, times: int) -> None:
    copies = range(1, times)
    hours = _HOURS.replace("$DAYS", str(HISTORY_DAYS))
    run_sql(
        url,
        *(text.replace("$COPIES", str(len(copies))) for text in (_COINS, _SERIES)),
        *(hours.replace("$COPY", str(copy)) for copy in copies),
        "VACUUM ANALYZE",
        "CHECKPOINT",
    )


def _count(url: str) -> int:
    [row] = fetch(url, "SELECT count(*) FROM price_hourly")
    number: int = row[0]
    return number


def _measure(laboratory: Laboratory, urls: dict[str, str]) -> dict[tuple[str, bool], list[float]]:
    """Return median latencies by database, and by whether all coins are queried in turn."""
    options = laboratory.options
    taken: dict[tuple[str, bool], list[float]] = defaultdict(list)
    with contextlib.ExitStack() as stack:
        targets = {}
        for name, url in urls.items():
            server = stack.enter_context(COINGRAPH.start(laboratory.place(url)))
            for every in (False, True):
                asks = _asks(laboratory, _coins(url) if every else ["bitcoin"])
                file = options.folder / f"growth-{name.split()[0]}-{every}.lines"
                targets[name, every] = Target.of(server.url, asks, file)
                load.run(targets[name, every], options.warmup, 0)
        for turn in range(1, options.rounds + 1):
            for key, target in targets.items():
                counted = load.run(target, options.seconds, turn * _STEP, connections=1)
                taken[key].append(counted.p50)
    return taken


def _coins(url: str) -> list[str]:
    found = fetch(
        url,
        """
        SELECT coin_id FROM series
        WHERE last_bucket IS NOT NULL AND currency_code = 'usd' ORDER BY hashtext(coin_id)
        """,
    )
    return [row[0] for row in found]


def _asks(laboratory: Laboratory, coins: Sequence[str]) -> list[Ask]:
    return [
        COINGRAPH.language.prices(
            laboratory.recent(number, coins[number % len(coins)])
            if len(coins) > 1
            else laboratory.range(number)
        )
        for number in range(_ASKS)
    ]


def _explained(laboratory: Laboratory, url: str) -> float:
    """Return the milliseconds for which PostgreSQL executes the query of a range."""
    part = laboratory.range(0)
    taken: list[float] = []
    for _ in range(_EXPLAINED):
        [row] = fetch(url, _EXPLAIN, part.coin, part.start, part.end)
        taken.append(orjson.loads(row[0])[0]["Execution Time"])
    return median(taken)

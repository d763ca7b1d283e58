"""The SQL that reads price series: hours, days, and weeks and months aggregated from days."""

from functools import cache

from models.prices.granularity import Granularity

NUMBERS = ("price", "market_cap", "volume", "open", "high", "low", "close")
BEFORE, BEGINS = "before", "begins"  # requested like columns, returned as separate values


def _numbers(column: str) -> str:
    # string_agg skips NULLs, which would shift the values after them, so send NaN instead
    return f"coalesce(string_agg(float8send(coalesce({column}, 'NaN')), ''), '') AS {column}"


# Arguments are text arrays: arrays of other types would cost each new connection a query of the
# catalogue. A series without a bucket in its window still has a row, with empty columns.
_STATEMENT = """
    SELECT s.id, s.coin_id, s.currency_code, s.revision, s.history_from, s.daily_from, number,
           page.*{edges}
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
        AS wanted (coin_id, currency_code, lower, upper, most, number)
    JOIN series AS s USING (coin_id, currency_code)
    CROSS JOIN LATERAL (
        SELECT {columns}
        FROM (
            {rows} AND {key} >= wanted.lower::{type} AND {key} < wanted.upper::{type}
            {group} ORDER BY {bucket} {order} LIMIT wanted.most::int
        ) AS rows
    ) AS page
"""
_EDGES = {
    BEFORE: """, (
        {rows} AND {key} < wanted.lower::{type} {group} ORDER BY {bucket} DESC LIMIT 1
    ) AS before""",
    BEGINS: ", (SELECT min({key}) FROM {table} WHERE series_id = s.id) AS begins",
}
_TIMES = "coalesce(string_agg(timestamptz_send({}), ''), '') AS {}"
_SQL = {
    **{name: _numbers(name) for name in NUMBERS},
    "timestamps": _TIMES.format("start", "timestamps"),
    "observed_at": _TIMES.format("observed_at", "observed_at"),
    "samples": "coalesce(string_agg(int4send(samples), ''), '') AS samples",
}
_HOURS = {"table": "price_hourly", "key": "bucket", "type": "timestamptz"}
_DAYS = {"table": "price_daily", "key": "day", "type": "date"}
_WEEK, _MONTH = (f"date_trunc('{unit}', day::timestamp)" for unit in ("week", "month"))
_UTC = "{} AT TIME ZONE 'UTC'"
_SOURCES = {
    Granularity.HOUR: {**_HOURS, "bucket": "bucket", "start": "bucket", "group": ""},
    Granularity.DAY: {
        **_DAYS, "bucket": "day", "start": _UTC.format("day::timestamp"), "group": "",
    },
    Granularity.WEEK: {
        **_DAYS, "bucket": _WEEK, "start": _UTC.format(_WEEK), "group": f"GROUP BY {_WEEK}",
    },
    Granularity.MONTH: {
        **_DAYS, "bucket": _MONTH, "start": _UTC.format(_MONTH), "group": f"GROUP BY {_MONTH}",
    },
}  # fmt: skip
_LAST = "(array_agg({0} ORDER BY day DESC) FILTER (WHERE {0} IS NOT NULL))[1]"
# A day before the hourly history has a single sample but the weight of a whole day.
_DAY = f"CASE WHEN {_UTC.format('day::timestamp')} < s.history_from THEN 24 ELSE samples END"
# The division keeps the sum over the 744 hours of a month from overflowing. A power of two loses no
# precision.
_WEIGHT = f"({_DAY})::float8 / 1024"
_OF_DAYS = {
    # Summed in the order of days, so that rounding does not depend on the other columns; and
    # limited, so that rounding does not move the mean above the highest or below the lowest price.
    "price": "least(greatest("
    f"sum(price * ({_WEIGHT}) ORDER BY day) / sum({_WEIGHT}), min(low)), max(high))",
    "market_cap": _LAST.format("market_cap"),
    "volume": _LAST.format("volume"),
    "open": "(array_agg(open ORDER BY day))[1]",
    "high": "max(high)",
    "low": "min(low)",
    "close": "(array_agg(close ORDER BY day DESC))[1]",
    "samples": "sum(samples)::int",
}
_VALUES = {
    Granularity.HOUR: {name: name for name in ("observed_at", "price", "market_cap", "volume")},
    Granularity.DAY: {name: name for name in _OF_DAYS},
    Granularity.WEEK: _OF_DAYS,
    Granularity.MONTH: _OF_DAYS,
}


@cache
def window_statement(granularity: Granularity, columns: frozenset[str], *, descending: bool) -> str:
    """Return the statement that reads these columns of windows of one granularity.

    Its arguments are five text arrays: coins, currencies, lower and upper bounds, and limits.
    """
    source, values = _SOURCES[granularity], _VALUES[granularity]
    names = sorted(columns & values.keys())

    def rows(**selected: str) -> str:
        listed = ", ".join(f"{value} AS {name}" for name, value in selected.items())
        return f"SELECT {listed} FROM {source['table']} WHERE series_id = s.id"  # noqa: S608 - made of constants

    edges = [edge for edge in (BEFORE, BEGINS) if edge in columns]
    before = rows(price=values["price"])
    return _STATEMENT.format(
        columns=", ".join(_SQL[name] for name in ("timestamps", *names)),
        rows=rows(start=source["start"], **{name: values[name] for name in names}),
        edges="".join(_EDGES[edge].format(rows=before, **source) for edge in edges),
        order="DESC" if descending else "ASC",
        **source,
    )

"""Encodes columns, as Python objects or directly as JSON bytes.

A column is an array or a list with one value for each object: float64 (NaN is null), integers,
booleans, datetime64 (encoded as RFC 3339; NaT is null), or JSON values as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from schema.scalars import encode_times, render_times

Column = npt.NDArray[Any] | Sequence[Any]


def values(column: Column) -> Sequence[Any]:
    """Return a column as a list of JSON values."""
    if not isinstance(column, np.ndarray):
        return column
    if column.dtype.kind == "M":
        missing = np.flatnonzero(np.isnat(column))
        found: list[Any] = render_times(_known(column, missing))
    else:
        missing = np.flatnonzero(np.isnan(column) if column.dtype.kind == "f" else ())
        found = column.tolist()
    for index in missing:
        found[index] = None
    return found


def finite(column: Column) -> bool:
    """Return True if the column has no infinity, which JSON lacks."""
    numbers = isinstance(column, np.ndarray) and column.dtype.kind == "f"
    return not (numbers and np.isinf(column).any())


def rows(columns: Mapping[str, Column], length: int) -> list[dict[str, Any]]:
    """Return one dict for each row."""
    keys = tuple(columns)
    if not keys:
        return [{} for _ in range(length)]
    each = zip(*map(values, columns.values()), strict=True)
    if len(keys) == 2:  # noqa: PLR2004 - the most common selection; twice as fast
        first, second = keys
        return [{first: one, second: other} for one, other in each]
    return [dict(zip(keys, row, strict=True)) for row in each]


def encoded_list(column: Column) -> orjson.Fragment:
    """Return a column as an encoded JSON list."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fib":
        return orjson.Fragment(orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY))
    return orjson.Fragment(b"[" + b",".join(_encoded(column)) + b"]")


def encoded_rows(columns: Mapping[str, Column], length: int) -> orjson.Fragment:
    """Return the encoded JSON list of the same objects as `rows`, without building them."""
    if not length or not columns:
        return orjson.Fragment(orjson.dumps(rows(columns, length)))
    return orjson.Fragment(b"[" + written_rows(columns, length) + b"]")


def written_rows(columns: Mapping[str, Column], length: int) -> bytes:
    """Encode at least one row of at least one column as JSON objects, separated by commas."""
    pieces, width = [b""] * (2 * len(columns) * length), 2 * len(columns)
    before = b"},{"
    encoded: dict[int, list[bytes]] = {}  # a column with several aliases is encoded once
    for place, (key, column) in enumerate(columns.items()):
        if id(column) not in encoded:
            encoded[id(column)] = _encoded(column)
        pieces[2 * place :: width] = [before + orjson.dumps(key) + b":"] * length
        pieces[2 * place + 1 :: width] = encoded[id(column)]
        before = b","
    pieces[0] = pieces[0].removeprefix(b"},")
    return b"".join(pieces) + b"}"


def parts_of(
    columns: Mapping[str, Column], length: int, most: int
) -> Iterator[tuple[dict[str, Column], int]]:
    """Split the rows into parts of at most `most` values. Yield each with its length."""
    step = max(1, most // len(columns))
    for start in range(0, length, step):
        cut = {id(each): each[start : start + step] for each in columns.values()}
        part: dict[str, Column] = {key: cut[id(each)] for key, each in columns.items()}
        yield part, min(step, length - start)


def _encoded(column: Column) -> list[bytes]:
    """Return the JSON of each value of a column that is not empty."""
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "M":
            missing = np.flatnonzero(np.isnat(column))
            found = encode_times(_known(column, missing))
            for index in missing:
                found[index] = b"null"
            return found
        if column.dtype.kind in "fib":  # no such value contains a comma
            return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    # texts repeat, and each result of orjson takes a kilobyte
    texts = {text: orjson.dumps(text) for text in {each for each in column if type(each) is str}}
    return [texts[each] if type(each) is str else orjson.dumps(each) for each in column]


def _known(times: npt.NDArray[Any], missing: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Replace missing times by some time."""
    if not len(missing):
        return times
    known = times.copy()
    known[missing] = np.datetime64(0, "us")
    return known

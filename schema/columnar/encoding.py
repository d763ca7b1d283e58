"""Columns into JSON values: as Python objects, or at once as the bytes of the answer.

A column is an array or a list with one JSON value for each object: float64, where NaN stands for
null; whole numbers; booleans; datetime64, which become RFC 3339 and null where there is none (NaT);
else the values as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from schema.scalars import encode_times, render_times

Column = npt.NDArray[Any] | Sequence[Any]


def values(column: Column) -> Sequence[Any]:
    """Give the JSON values of a column."""
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
    """Tell whether all is JSON: infinities are not, and the ordinary path names them."""
    numbers = isinstance(column, np.ndarray) and column.dtype.kind == "f"
    return not (numbers and np.isinf(column).any())


def rows(columns: Mapping[str, Column], length: int) -> list[dict[str, Any]]:
    """Make one object of each row."""
    keys = tuple(columns)
    if not keys:
        return [{} for _ in range(length)]
    each = zip(*map(values, columns.values()), strict=True)
    if len(keys) == 2:  # noqa: PLR2004 - the commonest selection, and twice as fast as the general one
        first, second = keys
        return [{first: one, second: other} for one, other in each]
    return [dict(zip(keys, row, strict=True)) for row in each]


def encoded_list(column: Column) -> orjson.Fragment:
    """Write the JSON list of a column."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "fib":
        return orjson.Fragment(orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY))
    return orjson.Fragment(b"[" + b",".join(_encoded(column)) + b"]")


def encoded_rows(columns: Mapping[str, Column], length: int) -> orjson.Fragment:
    """Write the JSON list of the same objects, without making them."""
    if not length or not columns:
        return orjson.Fragment(orjson.dumps(rows(columns, length)))
    return orjson.Fragment(b"[" + written_rows(columns, length) + b"]")


def written_rows(columns: Mapping[str, Column], length: int) -> bytes:
    """Write the JSON objects of at least one row and column, with commas between them."""
    pieces, width = [b""] * (2 * len(columns) * length), 2 * len(columns)
    before = b"},{"
    encoded: dict[int, list[bytes]] = {}  # a column asked for under many names is written once
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
    """Cut the rows into parts of so many values, each with its length."""
    step = max(1, most // len(columns))
    for start in range(0, length, step):
        cut = {id(each): each[start : start + step] for each in columns.values()}
        part: dict[str, Column] = {key: cut[id(each)] for key, each in columns.items()}
        yield part, min(step, length - start)


def _encoded(column: Column) -> list[bytes]:
    """Write the JSON of each value of a column that is not empty."""
    if isinstance(column, np.ndarray):
        if column.dtype.kind == "M":
            missing = np.flatnonzero(np.isnat(column))
            found = encode_times(_known(column, missing))
            for index in missing:
                found[index] = b"null"
            return found
        if column.dtype.kind in "fib":  # none of these holds a comma of its own
            return orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",")
    # texts recur, and each that orjson writes takes a kilobyte
    texts = {text: orjson.dumps(text) for text in {each for each in column if type(each) is str}}
    return [texts[each] if type(each) is str else orjson.dumps(each) for each in column]


def _known(times: npt.NDArray[Any], missing: npt.NDArray[np.intp]) -> npt.NDArray[Any]:
    """Put some time in the place of those that are missing."""
    if not len(missing):
        return times
    known = times.copy()
    known[missing] = np.datetime64(0, "us")
    return known

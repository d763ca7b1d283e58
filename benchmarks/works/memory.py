"""The memory of one worker during a hundred thousand varied requests."""

from collections.abc import Sequence
from itertools import pairwise

from benchmarks import load
from benchmarks.databases import fetch
from benchmarks.figures import Figure, Section
from benchmarks.laboratory import Laboratory
from benchmarks.load import Target
from benchmarks.peers.catalog import COINGRAPH
from benchmarks.processes import MIB, Running, watched
from benchmarks.traffic import Traffic

_SHOWN = 10  # rows of the table
_LIMIT = 300
_FLAT = 1.05  # the greatest ratio of the second half's peak to the first half's
_SLICE_SECONDS = 5.0

Point = tuple[int, int]  # requests so far, and the peak memory of the slice that ended there


def run(laboratory: Laboratory) -> Section:
    wanted = laboratory.options.flood
    coins = tracked_coins(laboratory)
    asks = list(Traffic(laboratory, coins).varied(wanted))
    with COINGRAPH.start(laboratory.place()) as server:
        file = laboratory.options.folder / "flood.lines"
        points = _flood(laboratory, server, Target.of(server.url, asks, file), wanted)
    return _section(points, wanted)


def tracked_coins(laboratory: Laboratory) -> list[str]:
    rows = fetch(
        laboratory.url,
        "SELECT DISTINCT coin_id FROM series WHERE last_bucket IS NOT NULL ORDER BY 1",
    )
    return [row[0] for row in rows]


def _flood(laboratory: Laboratory, server: Running, target: Target, wanted: int) -> list[Point]:
    """Send all requests once; refusals are expected."""
    seconds = min(_SLICE_SECONDS, laboratory.options.seconds)
    points: list[Point] = []
    sent = 0
    while sent < wanted:
        with watched(server.process, laboratory.postmaster) as usage:
            sent += load.run(target, seconds, sent).requests
        points.append((sent, usage.memory))
    return points


def _section(points: Sequence[Point], wanted: int) -> Section:
    half = [memory for sent, memory in points if sent <= wanted / 2] or [points[0][1]]
    growth = max(memory for _, memory in points) / max(half)
    most = max(memory for _, memory in points) / MIB
    title = f"memory of one worker over {wanted:,} varied requests"
    grown = f"{(growth - 1) * 100:+.1f} % in the second half"
    figures = [
        Figure(title, f"≤ {_LIMIT} MiB", most, _LIMIT, unit="MiB", at_most=True),
        Figure(title, "flat: second half ≤ 1.05 × first", growth, _FLAT, at_most=True),
    ]
    step = wanted / _SHOWN
    shown = [points[0]] + [b for a, b in pairwise(points) if a[0] // step != b[0] // step]
    rows = [[f"{sent:,}", f"{memory / MIB:.0f}"] for sent, memory in shown]
    remark = (
        f"RSS, the most of each slice of the run; {grown}. Half are ranges in variables, a quarter "
        "documents that never come again, the rest lists, latest prices and mistakes."
    )
    return Section(title, ("requests", "MiB"), rows, figures, [remark])

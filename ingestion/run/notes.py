"""What a run says of values that it did not keep or that it removed, in sentences for people."""

from collections.abc import Iterable, Sequence

from ingestion.coingecko.newest_prices import SeriesQuotes
from ingestion.coingecko.types import Chart, Dropped

_MOST_NAMED = 5


class RunNotes:
    """The notes of one run: on the run itself, and on each of its series."""

    def __init__(self) -> None:
        self._of_run: list[str] = []
        self._of_series: dict[int, list[str]] = {}

    def add(self, note: str | None) -> None:
        """Note something about the run as a whole."""
        if note:
            self._of_run.append(note)

    def add_series(self, series_id: int, note: str | None) -> str | None:
        """Note something about a series; all that is noted of it by now."""
        if note:
            self._of_series.setdefault(series_id, []).append(note)
        return " ".join(self._of_series.get(series_id, ())) or None

    @property
    def run(self) -> str | None:
        """All that is noted of the run, and how many of its items have notes."""
        notes = list(self._of_run)
        if count := len(self._of_series):
            notes.append(f"{_count(count, 'item')} with a note.")
        return " ".join(notes) or None


def dropped_from_charts(charts: Iterable[Chart]) -> str | None:
    """What was dropped of a series' charts; None where nothing was."""
    return dropped_values(sum((chart.dropped for chart in charts), Dropped()))


def dropped_values(total: Dropped, among: str = "values") -> str | None:
    """What was dropped; None where nothing was."""
    parts = [
        _count(number, name)
        for number, name in (
            (total.prices, "price"),
            (total.market_caps, "market cap"),
            (total.volumes, "volume"),
        )
        if number
    ]
    if total.ahead:
        parts.append(f"{_count(total.ahead, 'point')} with a time in the future")
    if not parts:
        return None
    return f"Dropped {among} of CoinGecko's that make no sense: {_listed(parts)}."


def removed_by_rebuild(number: int, what: str) -> str | None:
    """What a rebuild removed because upstream does not give it any more; None where nothing."""
    if not number:
        return None
    return f"The rebuild removed {_count(number, what)} that CoinGecko did not give this time."


def dropped_from_quotes(newest: SeriesQuotes) -> str | None:
    """What was dropped of the newest prices; None where nothing was."""
    notes = []
    if newest.dropped:
        named = [f"{coin}/{code} has {why}" for (coin, code), why in sorted(newest.dropped.items())]
        more = len(named) - _MOST_NAMED
        notes.append(
            f"Dropped {_count(len(named), 'newest price')} of CoinGecko's: "
            + "; ".join(named[:_MOST_NAMED])
            + (f"; and {more:,} more." if more > 0 else ".")
        )
        if not newest.found and all("ahead" in why for why in newest.dropped.values()):
            notes.append("If CoinGecko's clock is right, this machine's is wrong.")
    if newest.extras:
        what = _count(
            newest.extras, "market cap, volume or change", "market caps, volumes and changes"
        )
        notes.append(f"Dropped {what} of newest prices that make no sense.")
    return " ".join(notes) or None


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

"""The notes of a run, for people: which values it dropped or removed."""

from collections.abc import Iterable, Sequence

from ingestion.coingecko.newest_prices import SeriesQuotes
from ingestion.coingecko.types import Chart, Dropped

_MOST_NAMED = 5


class RunNotes:
    """Collects the notes of one run: on the run itself, and on each of its series."""

    def __init__(self) -> None:
        self._of_run: list[str] = []
        self._of_series: dict[int, list[str]] = {}

    def add(self, note: str | None) -> None:
        """Add a note on the run as a whole; None adds nothing."""
        if note:
            self._of_run.append(note)

    def add_series(self, series_id: int, note: str | None) -> str | None:
        """Add a note on a series and return all its notes so far; None without any."""
        if note:
            self._of_series.setdefault(series_id, []).append(note)
        return " ".join(self._of_series.get(series_id, ())) or None

    @property
    def run(self) -> str | None:
        """The notes on the run, and the number of its items with notes; None without any."""
        notes = list(self._of_run)
        if count := len(self._of_series):
            notes.append(f"{_count(count, 'item')} with a note.")
        return " ".join(notes) or None


def dropped_from_charts(charts: Iterable[Chart]) -> str | None:
    """Describe the invalid values in a series' charts; None if there are none."""
    return dropped_values(sum((chart.dropped for chart in charts), Dropped()))


def dropped_values(total: Dropped, among: str = "values") -> str | None:
    """Describe dropped values, named `among`; None if there are none."""
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
    return f"Dropped invalid {among} from CoinGecko: {_listed(parts)}."


def removed_by_rebuild(number: int, what: str) -> str | None:
    """Describe what a rebuild removed because upstream no longer has it; None if nothing."""
    if not number:
        return None
    return f"The rebuild removed {_count(number, what)} that CoinGecko did not send this time."


def dropped_from_quotes(newest: SeriesQuotes) -> str | None:
    """Describe the invalid newest prices that were dropped; None if there are none."""
    notes = []
    if newest.dropped:
        named = [f"{coin}/{code} has {why}" for (coin, code), why in sorted(newest.dropped.items())]
        more = len(named) - _MOST_NAMED
        notes.append(
            f"Dropped {_count(len(named), 'invalid newest price')} from CoinGecko: "
            + "; ".join(named[:_MOST_NAMED])
            + (f"; and {more:,} more." if more > 0 else ".")
        )
        if not newest.found and all("ahead" in why for why in newest.dropped.values()):
            notes.append("If CoinGecko's clock is right, this machine's is wrong.")
    if newest.extras:
        what = _count(
            newest.extras,
            "invalid market cap, volume or change",
            "invalid market caps, volumes and changes",
        )
        notes.append(f"Dropped {what} of newest prices.")
    return " ".join(notes) or None


def _count(number: int, singular: str, plural: str | None = None) -> str:
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

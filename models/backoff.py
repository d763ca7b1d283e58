"""The one rule by which everything here waits between attempts that fail."""

_MOST_DOUBLINGS = 60  # more would overflow


def pause_after(failures: int, *, first: float, longest: float) -> float:
    """Return the seconds to wait after `failures` in a row.

    `first` seconds after one failure, twice as long after each further one, at most `longest`.
    """
    return min(longest, first * 2.0 ** min(max(0, failures - 1), _MOST_DOUBLINGS))

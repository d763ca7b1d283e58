"""What an answer was made of, and so how long it stays true."""

from collections.abc import Iterable
from datetime import datetime

CATALOGUE = "catalogue"  # coins, their metadata, currencies, and which series there are
Tag = int | str  # a series' id, or CATALOGUE


class Footprint:
    """Filled by whatever reads for an operation. Nobody else can tell what an answer depends on.

    `tags` name what tells of its changes. `relative`: the answer depends on the moment it was
    given, as an age does. `until`: a moment at which it changes by itself. `untold`: it shows what
    changes without telling, such as the progress of a refresh, so it must not be kept at all.
    """

    __slots__ = ("relative", "tags", "until", "untold")

    def __init__(self) -> None:
        self.tags: set[Tag] = set()
        self.relative = False
        self.until: datetime | None = None
        self.untold = False

    def series(self, ids: Iterable[int]) -> None:
        """Series were read: their prices, newest price, revision or history."""
        self.tags.update(ids)

    def catalogue(self) -> None:
        self.tags.add(CATALOGUE)

    def now(self) -> None:
        """The answer is relative to the moment of the operation."""
        self.relative = True

    def ends(self, moment: datetime) -> None:
        """The answer is another one from this moment on."""
        self.until = moment if self.until is None else min(self.until, moment)

    def changes_untold(self) -> None:
        self.untold = True

"""Hints about settings that are valid but probably not meant: misspelt names, quoted values."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from server.config.env_file import names_in
from server.config.limits import FIXED_LIMITS
from server.config.text import unquoted

_TOKENS = {"READ_TOKENS", "REFRESH_TOKENS"}  # lists whose entries may have quotes
_LIKE = 0.75  # similarity for `.env`, whose names are mostly settings
_VERY_LIKE = 0.9  # similarity for the environment, whose names mostly are not


def hints(settings: Iterable[str], environ: Mapping[str, str], env_file: Path) -> list[str]:
    """Return one line for each misspelt name and each value in quotes.

    `settings`: the names of all settings. The lines never contain a value: it may be a secret.
    """
    known = {name.upper() for name in settings}
    found = [
        *_misspelt(f"{env_file}: ", names_in(env_file), known, _LIKE),
        *_misspelt("", environ, known, _VERY_LIKE),
    ]
    for name, value in environ.items():
        if name.upper() not in known:
            continue
        if unquoted(value) != value:
            found.append(
                f"{name.upper()}: the quotes around its value are not part of it; leave them out"
            )
        elif name.upper() in _TOKENS and any(_is_quoted(part) for part in value.split(",")):
            found.append(
                f"{name.upper()}: the quotes around its entries are part of them; are they meant?"
            )
    return found


def _is_quoted(part: str) -> bool:
    return unquoted(part.strip()) != part.strip()


def _misspelt(where: str, names: Iterable[str], known: set[str], likeness: float) -> Iterable[str]:
    for name in names:
        if name.upper() in known:
            continue
        if name.upper() in FIXED_LIMITS:
            yield f"{where}{name} is no setting any more, the limit is fixed: remove it"
            continue
        if close := get_close_matches(name.upper(), known, n=1, cutoff=likeness):
            yield f"{where}{name[:60]} is no setting; did you mean {close[0]}?"

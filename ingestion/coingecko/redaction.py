"""Redacts secrets in text written by libraries and servers, in any of several encodings."""

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "[hidden]"
_SHORTEST = 6  # characters; a shorter secret would match ordinary text
_LAYERS = 4  # of nested encodings, such as JSON in JSON in a URL
_BACKSLASHED = re.compile(
    r"\\+(?:u([0-9a-f]{4})|U([0-9a-f]{8})|x([0-9a-f]{2})|(.))", re.IGNORECASE | re.DOTALL
)
# An escaped quote belongs to its word, so that a JSON string is one word.
_WORD = re.compile(r'(?:[^\s"\\]|\\.)+')
_MOST_CODE = 0x10FFFF


class Redactor:
    """Replaces secrets by `[hidden]`, in plain text and in encodings.

    Recognized are base64 of any text around the secret (as in `Authorization: Basic`), hexadecimal,
    percent encoding, and the escapes of JSON, Python and HTML, nested up to four times, in upper
    and lower case. Secrets of fewer than 6 characters are not searched for.

    A text without secrets costs one `str.__contains__` per form of each secret.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._forms = set[str]()
        self._cores = set[str]()
        self._needles: tuple[str, ...] = ()
        self._pattern: re.Pattern[str] | None = None
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Add secrets to search for."""
        known = len(self._forms)
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                self._forms.update(_written(secret))
                self._cores.update(_in_base64(secret))
        if len(self._forms) == known:
            return
        self._needles = tuple({each.lower() for each in self._forms | self._cores})
        longest_first = sorted(map(re.escape, self._forms), key=len, reverse=True)
        # A base64 character next to a core may hold some bits of the secret.
        cores = [f"[\\w+/-]?{re.escape(core)}[\\w+/-]?={{0,2}}" for core in sorted(self._cores)]
        self._pattern = re.compile("|".join([*longest_first, *cores]), re.IGNORECASE)

    def forget(self) -> None:
        """Remove all secrets."""
        self._forms.clear()
        self._cores.clear()
        self._needles, self._pattern = (), None

    def __call__(self, text: str) -> str:
        """Return `text` without the secrets; just `[hidden]` if they cannot be cut out."""
        if self._pattern is None:
            return text
        if self._finds_in(text):
            text = self._pattern.sub(HIDDEN, text)
        encoded = "%" in text or "\\" in text or "&" in text
        if not encoded or not self._finds_in(_decoded(text)):
            return text
        text = _WORD.sub(self._hide_word, text)
        return HIDDEN if self._finds_in(_decoded(text)) else text

    def _finds_in(self, text: str) -> bool:
        lowered = text.lower()
        for needle in self._needles:  # noqa: SIM110 - `any` takes twice as long
            if needle in lowered:
                return True
        return False

    def _hide_word(self, word: re.Match[str]) -> str:
        return HIDDEN if self._finds_in(_decoded(word[0])) else word[0]


def login_secrets(url: str) -> set[str]:
    """Return the secrets in a URL: its password, or its user name if it has no password.

    Includes user and password joined as in Basic authentication, so that a password too short to
    be searched for alone is found there.
    """
    login = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return login_pair(*login.partition(":")[::2])


def login_pair(user: str, password: str) -> set[str]:
    """Return the secrets of a login, percent-encoded as in a URL and decoded."""
    secrets = set()
    for name, word in ((user, password), (unquote(user), unquote(password))):
        secrets |= {word, f"{name}:{word}"} if word else {name}
    return secrets - {""}


def _written(secret: str) -> Iterator[str]:
    """Yield the encodings of a secret on its own."""
    octets = secret.encode("utf-8", "surrogateescape")
    yield secret
    yield quote(octets, safe="")
    yield quote_plus(octets, safe="")
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    yield repr(octets)[2:-1]
    yield html.escape(secret)
    yield octets.hex()
    yield octets.decode("latin-1")
    if len(plain := _decoded(secret)) >= _SHORTEST:  # a secret may look encoded itself
        yield plain


def _in_base64(secret: str) -> Iterator[str]:
    """Yield the part of a text's base64 that depends only on the secret in it.

    Three octets make four characters, so there are three alignments, in each of two alphabets.
    """
    octets = secret.encode("utf-8", "surrogateescape")
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + octets).decode()
        core = encoded[-(-8 * before // 6) : 8 * (before + len(octets)) // 6]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _decoded(text: str) -> str:
    """Decode percent encoding and the escapes of JSON, Python and HTML, layer by layer."""
    for _ in range(_LAYERS):
        plain = html.unescape(unquote(_BACKSLASHED.sub(_character, text)))
        if plain == text:
            break
        text = plain
    return text


def _character(escape: re.Match[str]) -> str:
    code = next(filter(None, escape.groups()[:3]), None)
    if code is None:
        return escape[4] or ""
    return chr(int(code, 16)) if int(code, 16) <= _MOST_CODE else ""

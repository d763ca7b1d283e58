"""Secrets in what others wrote, in every encoding that a server or a library may use."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.coingecko.redaction import HIDDEN, Redactor, login_secrets

ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper": str.upper,
    "lower": str.lower,
    "percent": lambda text: quote(text, safe=""),
    "form": lambda text: quote_plus(text, safe=""),
    "percent, lower": lambda text: quote(text, safe="").lower(),
    "each percent": lambda text: "".join(f"%{octet:02X}" for octet in text.encode()),
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON, not ASCII": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[1:-1],
    "JSON, each": lambda text: "".join(
        f"\\u{unit:04x}" for unit in _utf16(text)
    ),
    "solidus": lambda text: text.replace("/", "\\/"),
    "HTML": html.escape,
    "HTML, decimal": lambda text: "".join(f"&#{ord(each)};" for each in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#x{ord(each):X};" for each in text),
    "HTML in JSON": lambda text: json.dumps(html.escape(text))[1:-1],
    "HTML twice": lambda text: html.escape(html.escape(text)),
    "Python": lambda text: repr(text)[1:-1],
    "Python's bytes": lambda text: repr(text.encode())[2:-1],
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, upper": lambda text: text.encode().hex().upper(),
    "Basic": lambda text: base64.b64encode(f"u:{text}".encode()).decode(),
    "Basic of two": lambda text: base64.b64encode(f"us:{text}".encode()).decode(),
    "Basic of three": lambda text: base64.b64encode(f"use:{text}".encode()).decode(),
    "Basic in an address": lambda text: quote(
        base64.b64encode(f"use:{text}:x".encode()).decode(), safe=""
    ),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
}  # fmt: skip


def _utf16(text: str) -> list[int]:
    octets = text.encode("utf-16-be")
    return [int.from_bytes(octets[at : at + 2]) for at in range(0, len(octets), 2)]


SECRETS = [
    "hunter2",
    "p@ss w/rd&<\"'>+%",
    "Ünïcode-€ð",
    "CG-aB3dEf9012345678",
    "a\\b\\c\\d\\ef",
    "?>?>?>~~",
    "50%41off&amp",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_encoding_is_hidden_and_nothing_else(encoding: str, secret: str) -> None:
    written = ENCODINGS[encoding](secret)
    found = Redactor([secret])(f"before {written} after")
    assert written not in found
    assert HIDDEN in found
    if not {'"', " ", "\\"} & set(secret):
        assert found.startswith("before ")
        assert found.endswith(" after")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_line_of_json_stays_one(encoding: str, secret: str) -> None:
    line = json.dumps({"event": "x", "said": f'{{"a": "{ENCODINGS[encoding](secret)}"}}'})
    found = Redactor([secret])(line)
    assert HIDDEN in found
    if found != HIDDEN:
        assert json.loads(found)["event"] == "x"


@example("aaaaaa", "", "")
@given(st.text(st.characters(codec="utf-8"), min_size=6, max_size=40), st.text(), st.text())
def test_no_text_around_a_secret_saves_it(secret: str, before: str, after: str) -> None:
    redact = Redactor([secret])
    assert secret not in redact(f"{before} {secret} {after}").replace(HIDDEN, "")
    octets = f"{before}:{secret}:{after}".encode()
    assert octets.hex() not in redact(octets.hex())
    encoded = base64.b64encode(octets).decode()
    assert redact(encoded) != encoded


@given(st.text())
def test_a_text_without_a_secret_stays_as_it_is(text: str) -> None:
    assert Redactor(["s3cret-\0-that-is-nowhere"])(text) == text
    assert Redactor(["short"])(text) == text
    assert Redactor()(text) == text


def test_secrets_are_added_and_forgotten() -> None:
    redact = Redactor()
    redact.add(["hunter2"])
    redact.add(["hunter3", "hunter2"])
    assert redact("hunter2 hunter3 hunter4") == f"{HIDDEN} {HIDDEN} hunter4"
    redact.forget()
    assert redact("hunter2") == "hunter2"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("https://me:p%40ss@host/v3", {"p%40ss", "p@ss", "me:p%40ss", "me:p@ss"}),
        ("https://token@host", {"token"}),
        ("https://token:@host", {"token"}),
        ("https://me:a@b@host/", {"a@b", "me:a@b"}),
        ("https://host/a:b@c", set()),
        ("https://host", set()),
    ],
)
def test_the_login_of_an_address(url: str, secrets: set[str]) -> None:
    assert login_secrets(url) == secrets

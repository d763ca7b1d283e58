"""CORS_ORIGINS: common spellings become what browsers send, all others stop the start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config.origins import normal_origin
from server.config.settings import SettingsError, load_settings
from server.http.cross_origin import Origins

# an entry, origins that it allows, origins that it does not
ENTRIES = [
    ("HTTPS://App.Example.COM", ["https://app.example.com"], ["http://app.example.com"]),
    (
        "https://app.example.com:443",
        ["https://app.example.com", "https://app.example.com:443"],
        ["https://app.example.com:8443", "https://app.example.com:4430"],
    ),
    ("http://localhost:80/", ["http://localhost"], ["http://localhost:8080", "https://localhost"]),
    ("http://localhost:443", ["http://localhost:443"], ["http://localhost", "https://localhost"]),
    ("http://localhost:*", ["http://localhost:5173", "http://localhost"], ["http://a.localhost:1"]),
    ("https://münchen.example/", ["https://xn--mnchen-3ya.example"], ["https://munchen.example"]),
    ("http://[0:0::1]:3000", ["http://[::1]:3000"], ["http://[::1]", "http://[::2]:3000"]),
    ("http://192.168.1.7:3000", ["http://192.168.1.7:3000"], ["http://192.168.1.70:3000"]),
    (
        "https://*.Example.com",
        ["https://a.example.com", "https://a.b-1.example.com", "https://a_b.example.com:443"],
        [
            *("https://example.com", "https://evilexample.com", "https://.example.com"),
            *("https://a.example.com.evil.org", "https://evil.org/.example.com"),
            *("http://a.example.com", "https://a.example.com:8443", "https://a.example.com\n"),
            *("https://evil.org#.example.com", "https://u@a.example.com", "https://aXexample.com"),
        ],
    ),
    ("https://*.example.com:8443", ["https://a.example.com:8443"], ["https://a.example.com"]),
    (
        "http://*.localhost:*",
        ["http://app.localhost:3000", "http://app.localhost"],
        ["http://localhost:3000", "http://app.localhost:3000.evil.org"],
    ),
    ("capacitor://localhost", ["capacitor://localhost"], ["ionic://localhost", "capacitor://x"]),
    ("Tauri://LocalHost/", ["tauri://localhost"], ["https://localhost"]),
    ("ionic://localhost", ["ionic://localhost"], []),
    ("app://obsidian.md", ["app://obsidian.md"], ["app://md"]),
    ("app://-", ["app://-"], ["app://a"]),
    (
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        ["chrome-extension://abcdefghijklmnopabcdefghijklmnop"],
        ["chrome-extension://bbcdefghijklmnopabcdefghijklmnop"],
    ),
    ("moz-extension://1b2c-3d", ["moz-extension://1b2c-3d"], []),
    ("null", ["null"], ["https://null", ""]),
    ("NULL", ["null"], []),
    ("file://", ["file://"], ["null", "file://x"]),
    ("*", ["https://anything.example", "null", "capacitor://localhost"], []),
]
BAD = [
    *("app.example.com", "localhost:3000", "https://", "https:app.example.com", "//example.com"),
    *("https://app.example.com/path", "https://a.example.com?x", "https://a.example.com#x"),
    *("https://user:pw@example.com", "https://exa mple.com", "https://a.example.com:99999"),
    *("https://a.example.com:", "https://a.example.com:x", "http://[::1", "https://[*]", "**"),
    *("https://*", "https://*.com", "https://*.", "https://*.*.example.com", "*.example.com"),
    *("https://a.*.example.com", "https://a*.example.com", "https://*example.com", "*://a.com"),
    *("http://*.168.1.7", "http://*.[::1]", "https://**.example.com", "regex:https://.*"),
    *("https://a.example.com\\", "https://a.example.com\x00", "https://%61.example.com"),
]


@pytest.mark.parametrize(("entry", "allowed", "refused"), ENTRIES, ids=[e[0] for e in ENTRIES])
def test_the_origins_that_an_entry_allows(
    entry: str, allowed: list[str], refused: list[str]
) -> None:
    origins = Origins(load_settings(cors_origins=f" {entry} ,https://other.example").cors_origins)
    assert [origin for origin in allowed if not origins.allows(origin)] == []
    assert [origin for origin in refused if origins.allows(origin)] == []


@pytest.mark.parametrize("entry", BAD)
def test_useless_and_too_wide_entries_stop_the_start(entry: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(cors_origins=f"https://good.example,{entry}")
    line = str(caught.value)
    assert line.startswith("CORS_ORIGINS: ")
    assert "\n" not in line
    assert len(line) < 250


def test_equal_entries_are_merged() -> None:
    entries = "https://A.example.com,https://a.example.com:443,https://a.example.com/"
    assert load_settings(cors_origins=entries).cors_origins == ("https://a.example.com",)


@given(st.text(max_size=30), st.sampled_from(["", "http://", "https://*.", "app://"]))
def test_normalising_an_entry_is_idempotent(text: str, start: str) -> None:
    try:
        normal = normal_origin(start + text)
    except ValueError:
        return
    assert normal_origin(normal) == normal
    Origins([normal])

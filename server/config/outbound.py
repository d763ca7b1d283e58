"""How requests to CoinGecko leave this machine: by which proxy, trusting which certificates.

What is wrong with that is no reason to end: a server serves what it has, and says with each refresh
why there is nothing new.
"""

import os
import ssl
from pathlib import Path

import certifi
import httpx

from ingestion.coingecko.outbound import Outbound
from ingestion.coingecko.redaction import login_pair
from server.config.proxies import ProxyError, proxy_for


def outbound_for(url: str) -> Outbound:
    """Read the environment's proxy and certificates for `url`. Never raises."""
    try:
        proxy = proxy_for(url)
        made = httpx.Proxy(proxy.url, auth=proxy.login) if proxy else None
        context = _certificates() if _needs_tls(url, made) else _trusting_nobody()
        if made and made.url.scheme == "https":
            made.ssl_context = context
    except (ProxyError, _CertificateError) as error:
        return Outbound(fault=str(error))
    except (ValueError, httpx.InvalidURL):  # of an address that the client refuses itself
        return Outbound()
    login = proxy.login if proxy and proxy.login else ("", "")
    return Outbound(proxy=made, verify=context, secrets=frozenset(login_pair(*login)))


class _CertificateError(Exception):
    """Certificates cannot be read; one line that names the variable and the file."""


def _needs_tls(url: str, proxy: httpx.Proxy | None) -> bool:
    return url.lower().startswith("https:") or (proxy is not None and proxy.url.scheme == "https")


def _trusting_nobody() -> ssl.SSLContext:
    """Spare reading certificates that no request to a http address asks for."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _certificates() -> ssl.SSLContext:
    """Trust those of SSL_CERT_FILE, else those of SSL_CERT_DIR, else the ones that certifi has."""
    _check_key_log()
    file, folders = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    if not file and not folders:
        return ssl.create_default_context(cafile=certifi.where())
    name, place = ("SSL_CERT_FILE", file) if file else ("SSL_CERT_DIR", folders)
    try:
        if file:
            return ssl.create_default_context(cafile=file)
        if not any(Path(folder).is_dir() for folder in folders.split(os.pathsep)):
            raise FileNotFoundError(0, "there is no such directory")
        return ssl.create_default_context(capath=folders)
    except ssl.SSLError:
        reason = "it holds no certificates in PEM form"
    except OSError as error:
        reason = str(error.strerror)
    except ValueError as error:
        reason = str(error)
    raise _CertificateError(
        f"{name}: {place[:200]!r} cannot be used: {reason}; correct it or unset it"
    )


def _check_key_log() -> None:
    """Open SSLKEYLOGFILE for appending, as `ssl` does with each context that it makes."""
    place = os.environ.get("SSLKEYLOGFILE", "")
    try:
        if place:
            Path(place).open("ab").close()
    except OSError as error:
        raise _CertificateError(
            f"SSLKEYLOGFILE: {place[:200]!r} cannot be written: {error.strerror}; "
            "correct it or unset it"
        ) from None

"""The proxy and the certificates for requests to CoinGecko.

Errors here do not stop the server: it serves stored prices, and each refresh reports the error.
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
    """Read the proxy and the certificates for `url` from the environment.

    Never raises: an error is in `Outbound.fault`.
    """
    try:
        proxy = proxy_for(url)
        made = httpx.Proxy(proxy.url, auth=proxy.login) if proxy else None
        context = _certificates() if _needs_tls(url, made) else _without_certificates()
        if made and made.url.scheme == "https":
            made.ssl_context = context
    except (ProxyError, _CertificateError) as error:
        return Outbound(fault=str(error))
    except (ValueError, httpx.InvalidURL):  # an invalid URL, which the client reports itself
        return Outbound()
    login = proxy.login if proxy and proxy.login else ("", "")
    return Outbound(proxy=made, verify=context, secrets=frozenset(login_pair(*login)))


class _CertificateError(Exception):
    """Certificates cannot be read. The message is one line with the variable and the file."""


def _needs_tls(url: str, proxy: httpx.Proxy | None) -> bool:
    return url.lower().startswith("https:") or (proxy is not None and proxy.url.scheme == "https")


def _without_certificates() -> ssl.SSLContext:
    """Return an empty context: plain HTTP needs no certificates, and loading them is slow."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _certificates() -> ssl.SSLContext:
    """Trust the certificates of SSL_CERT_FILE, else of SSL_CERT_DIR, else of certifi."""
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
    """Open SSLKEYLOGFILE for appending, as `ssl` does for each new context."""
    place = os.environ.get("SSLKEYLOGFILE", "")
    try:
        if place:
            Path(place).open("ab").close()
    except OSError as error:
        raise _CertificateError(
            f"SSLKEYLOGFILE: {place[:200]!r} cannot be written: {error.strerror}; "
            "correct it or unset it"
        ) from None

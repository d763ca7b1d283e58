"""What may be given for the settings of rate limits."""

from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from server.config.addresses import normal_network

_SCHEMES = {"redis", "rediss"}


def networks(values: tuple[str, ...]) -> tuple[str, ...]:
    """Check addresses and networks, and write each in one way. Raises ValueError."""
    found = []
    for value in values:
        try:
            network = normal_network(value)
        except ValueError:
            raise ValueError(
                f"{value[:60]!r} is no address or network; write such as 10.0.0.7 or 10.0.0.0/8"
            ) from None
        found.append(str(network) if "/" in value else str(network.network_address))
    return tuple(found)


def storage_url(value: SecretStr) -> SecretStr:
    """Check without quoting it: a password may be in it."""
    url = urlsplit(value.get_secret_value())
    try:
        usable = url.scheme in _SCHEMES and bool(url.hostname) and url.port != 0
    except ValueError:  # of the port
        usable = False
    if not usable:
        raise ValueError("write such as redis://host:6379/0, or rediss:// for TLS")
    return value


def password_of(value: SecretStr) -> str:
    return unquote(urlsplit(value.get_secret_value()).password or "")

"""Factories that build components from Settings, for the application and the commands."""

from ingestion.coingecko.client import CoinGecko, offered_history
from ingestion.coingecko.errors import AccessRefused
from ingestion.coingecko.urls import PRO_URL, PUBLIC_URL
from ingestion.quota.throttle import Throttle
from ingestion.run.refresher import Refresher
from models.history import TrackingScope
from models.postgres.database import Database
from server.access.rate_limits import RateLimits, redis_storage
from server.config.outbound import outbound_for
from server.config.settings import Settings, SettingsError


def make_upstream(settings: Settings, database: Database) -> CoinGecko:
    """Make the CoinGecko client. Raises SettingsError for a malformed key or base URL."""
    key, base_url = settings.coingecko_api_key, upstream_url(settings)
    try:
        return CoinGecko(
            throttle=Throttle(settings.requests_per_minute, database=database),
            base_url=base_url,
            plan=settings.plan,
            api_key=key.get_secret_value() if key else None,
            outbound=outbound_for(base_url),
        )
    except AccessRefused as error:
        raise SettingsError(str(error)) from None


def upstream_url(settings: Settings) -> str:
    """Return the base URL of CoinGecko for the plan, or COINGECKO_BASE_URL."""
    own_url = PRO_URL if settings.plan == "pro" else PUBLIC_URL
    return str(settings.coingecko_base_url or own_url)


def make_refresher(settings: Settings, database: Database, upstream: CoinGecko) -> Refresher:
    """Make the refresher of the tracked coins and currencies."""
    return Refresher(
        database,
        upstream,
        coins=settings.coins,
        currencies=settings.currencies,
        history_days=settings.history_days,
        monthly_credits=settings.coingecko_monthly_credits,
    )


def tracked_by(settings: Settings) -> TrackingScope:
    """Return the coins, currencies and history that the settings track."""
    return TrackingScope(
        settings.coins, settings.currencies, settings.history_days, offered_history(settings.plan)
    )


def make_rates(settings: Settings) -> RateLimits | None:
    """Make the rate limits, None without RATE_LIMIT_POINTS."""
    if not settings.rate_limit_points:
        return None
    url = settings.rate_limit_storage
    storage = redis_storage(url.get_secret_value()) if url else None
    return RateLimits(settings.rate_limit_points, storage)

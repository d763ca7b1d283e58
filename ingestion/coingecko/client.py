"""A client of CoinGecko's API, version 3."""

import asyncio
import math
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Self, TypeVar
from urllib.parse import urlencode

import httpx
import stamina
import structlog
from pydantic import SecretStr

from ingestion.coingecko import answer_bounds, charts, errors, parsing
from ingestion.coingecko.answer_bounds import Bound, Expected
from ingestion.coingecko.circuit_breaker import CircuitBreaker
from ingestion.coingecko.connections import BoundedTransport
from ingestion.coingecko.outbound import Outbound
from ingestion.coingecko.parsing import Quotes
from ingestion.coingecko.redaction import Redactor, login_secrets
from ingestion.coingecko.retries import RetryPolicy
from ingestion.coingecko.types import CallStats, Chart, CoinProfile, ListedCoin
from ingestion.coingecko.urls import (
    KEY_HEADER,
    PRO_URL,
    PUBLIC_URL,
    ApiPlan,
    checked_key,
    checked_url,
    fits_in_list,
    quote_chunks,
    segment,
    user_agent,
)
from ingestion.quota.throttle import Throttle

T = TypeVar("T")

log = structlog.get_logger("coingraph.upstream")

FREE_HISTORY = timedelta(days=365)
_FINAL = (errors.AccessRefused, errors.RateLimited)  # other calls would fail in the same way
_SHORT = 4_000  # bytes of JSON; decoding less is faster than handing it to a thread
_KEEP_ALIVE = 60.0  # seconds; calls can be 12 s apart, longer than httpx's default
_PROFILE_PARTS = dict.fromkeys(
    ("localization", "tickers", "market_data", "community_data", "developer_data"), "false"
)
_QUOTE_PARTS = {"precision": "full"} | dict.fromkeys(
    (f"include_{part}" for part in ("market_cap", "24hr_vol", "24hr_change", "last_updated_at")),
    "true",
)


def offered_history(plan: ApiPlan) -> timedelta | None:
    """Return how far back an API plan offers prices, or None if there is no limit."""
    return None if plan == "pro" else FREE_HISTORY


class CoinGecko:
    """A client of one CoinGecko host, used as an asynchronous context manager.

    Every attempt takes a slot of `throttle`, because refused calls count towards the rate limit. A
    call that finds upstream unreachable or failing is attempted `attempts` times, 0.5 to 30
    seconds apart. A 429 is retried up to twice as often, as soon as the throttle's pause ends. A
    `Retry-After` header pauses all calls, whatever the status. If every call fails, `outage` stops
    the retries: calls raise UpstreamDown after one attempt until one succeeds. `timeout` is in
    seconds and limits one attempt, without its wait in the throttle.

    `history` is how far back the API plan offers prices, None if there is no limit.

    `outbound` is the network configuration; the client itself reads no environment variables. If
    `outbound` has a fault, every call raises AccessRefused with that fault.

    All methods raise UpstreamError, ValueError for a datetime without an offset, and
    DatabaseUnavailableError if the throttle's database is unavailable. They add the cost of their
    calls to `stats`. The constructor raises AccessRefused for a malformed key or base URL.
    """

    def __init__(
        self,
        *,
        throttle: Throttle,
        base_url: str | None = None,
        plan: ApiPlan = "keyless",
        api_key: str | None = None,
        timeout: float = 30.0,
        attempts: int = 6,
        outbound: Outbound | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._throttle = throttle
        self._base_url = checked_url(base_url or (PRO_URL if plan == "pro" else PUBLIC_URL))
        self._key = SecretStr(checked_key(api_key or ""))
        self._timeout = timeout
        self._attempts = attempts
        self._outbound = outbound or Outbound()
        self._scrub = Redactor(
            {api_key or "", *login_secrets(self._base_url), *self._outbound.secrets}
        )
        self.outage = CircuitBreaker()
        self.history = offered_history(plan)
        headers = {"User-Agent": user_agent(), "Accept-Encoding": "gzip"}
        if plan in KEY_HEADER and self._key:
            headers[KEY_HEADER[plan]] = self._key.get_secret_value()
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=timeout,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            trust_env=False,
            transport=transport
            or BoundedTransport(
                verify=self._outbound.verify,
                proxy=self._outbound.proxy,
                limits=httpx.Limits(keepalive_expiry=_KEEP_ALIVE),
            ),
        )
        # One thread, so that only one response is decoded at a time.
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="upstream-answers")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._decoder.shutdown(wait=False)
        await self._http.aclose()

    @property
    def fault(self) -> str | None:
        """The configuration error that makes all calls fail; None if there is none."""
        return self._outbound.fault

    def is_free_of_secrets(self, text: str) -> bool:
        """Return True if `text` contains none of the secrets that are sent to upstream."""
        return self._scrub(text) == text

    @property
    def throttle(self) -> Throttle:
        """The throttle that spaces this client's calls."""
        return self._throttle

    async def ping(self, *, stats: CallStats | None = None) -> str:
        """Return the text of `/ping`."""
        return await self._get("/ping", {}, Expected(answer_bounds.PING, parsing.greeting), stats)

    async def coin_list(self, *, stats: CallStats | None = None) -> list[ListedCoin]:
        """Return all coins of upstream, about 18,000."""
        return await self._get(
            "/coins/list", {}, Expected(answer_bounds.COIN_LIST, parsing.listing), stats
        )

    async def coin(self, coin_id: str, *, stats: CallStats | None = None) -> CoinProfile:
        """Return a coin's names, description, image and website. Raises NotFound."""
        path = f"/coins/{segment(coin_id)}"
        expected = Expected(answer_bounds.PROFILE, lambda answer: parsing.profile(answer, coin_id))
        return await self._get(path, _PROFILE_PARTS, expected, stats)

    async def simple_price(
        self,
        coin_ids: Iterable[str],
        currencies: Iterable[str],
        *,
        stats: CallStats | None = None,
        outage: CircuitBreaker | None = None,
    ) -> Quotes:
        """Return the newest price of every coin in every currency: one call per 250 coins.

        `outage`, if given, counts the failures instead of the client's own.
        """
        coins, codes = list(dict.fromkeys(coin_ids)), list(dict.fromkeys(currencies))
        currency_list = ",".join(filter(fits_in_list, codes))
        expected = Expected(answer_bounds.PRICES, parsing.prices)
        gathered: dict[str, object] = {}
        for ids in quote_chunks(coins if currency_list else []):
            params = {"ids": ",".join(ids), "vs_currencies": currency_list} | _QUOTE_PARTS
            found = await self._get("/simple/price", params, expected, stats, outage)
            gathered |= found
        return parsing.quotes(gathered, coins, codes, time.time())

    async def market_chart_range(
        self,
        coin_id: str,
        currency: str,
        start: datetime,
        end: datetime,
        *,
        stats: CallStats | None = None,
    ) -> Chart:
        """Return the observations from `start` to `end`, widened to whole seconds.

        They are hourly for ranges of 2 to 90 days and daily for longer ones. Raises NotFound, and
        HistoryTooLong if `start` is before the history that the API plan offers.
        """
        if start.tzinfo is None or end.tzinfo is None:
            raise ValueError("a range needs datetimes with an offset")
        params = {
            "vs_currency": currency,
            "from": str(math.floor(start.timestamp())),
            "to": str(math.ceil(end.timestamp())),
            "precision": "full",
        }
        path = f"/coins/{segment(coin_id)}/market_chart/range"
        expected = Expected(answer_bounds.CHART, lambda answer: charts.chart(answer, time.time()))
        return await self._get(path, params, expected, stats)

    async def _get(
        self,
        path: str,
        params: dict[str, str],
        expected: Expected[T],
        stats: CallStats | None,
        outage: CircuitBreaker | None = None,
    ) -> T:
        if self._outbound.fault:
            raise errors.AccessRefused(f"CoinGecko cannot be reached: {self._outbound.fault}")
        stats, outage = stats or CallStats(), outage or self.outage
        query = f"?{urlencode(params, safe=',', errors='replace')}" if params else ""
        call = f"{path} {params.get('vs_currency', '')}"
        try:
            async for attempt in stamina.retry_context(
                on=RetryPolicy(self._attempts, outage),
                attempts=None,
                timeout=None,
                wait_initial=0.5,
                wait_max=30.0,
            ):
                with attempt:
                    url, again = f"{self._base_url}{path}{query}", attempt.num > 1
                    found = await self._attempt(url, call, expected, stats, outage, again=again)
        except errors.UpstreamDown:
            raise
        except errors.UpstreamError as error:
            if error.said:
                log.warning(
                    "upstream call failed",
                    call=call,
                    error=str(error),
                    said=self._scrub(error.said),
                )
            if outage.forbids_calls and not isinstance(error, _FINAL):
                raise errors.UpstreamDown.after(error, outage.calls) from error
            raise
        return found

    async def _attempt(
        self,
        url: str,
        call: str,
        expected: Expected[T],
        stats: CallStats,
        outage: CircuitBreaker,
        *,
        again: bool,
    ) -> T:
        async with outage.attempt(), self._throttle.slot() as slowdown:
            stats.attempts += 1
            stats.retries += again
            began = outage.begin()
            try:
                found = await self._answer(url, expected, stats, slowdown)
            except errors.UpstreamError as error:
                if error.deliberate:
                    outage.end()
                else:
                    outage.failed(call, began, error)
                raise
            outage.answered()
            return found

    async def _answer(self, url: str, expected: Expected[T], stats: CallStats, slowdown: int) -> T:
        response, body = await self._exchange(url, expected.bound)
        packed = answer_bounds.is_packed(response)
        if response.status_code == httpx.codes.OK:
            try:
                return await self._read(expected, body, slowdown, packed=packed)
            except answer_bounds.NotJson as strange:
                body = strange.start
        elif packed:
            body = answer_bounds.unpacked_error(body)
        headers = response.headers
        retry_after = errors.seconds_to_wait(headers.get("Retry-After"), headers.get("Date"))
        error = errors.error_from_answer(
            response.status_code, body, retry_after=retry_after, scrub=self._scrub
        )
        body = b""  # some log handlers print local variables, and the body may quote the key
        limited = isinstance(error, errors.RateLimited)
        stats.rate_limited += limited
        if limited or (isinstance(error, errors.ServerFault) and retry_after is not None):
            stats.paused_seconds += await self._throttle.rate_limited(
                retry_after, slowdown=slowdown
            )
        raise error

    async def _read(self, expected: Expected[T], body: bytes, slowdown: int, *, packed: bool) -> T:
        """Decode and check a body; in the decoder thread unless the body is short."""
        read = partial(expected.read, body, packed=packed)
        short = len(body) <= _SHORT and not packed
        try:
            found = (
                read()
                if short
                else await asyncio.get_running_loop().run_in_executor(self._decoder, read)
            )
        except errors.BadAnswer:  # for the throttle, the call succeeded
            self._throttle.succeeded(slowdown=slowdown)
            raise
        self._throttle.succeeded(slowdown=slowdown)
        return found

    async def _exchange(self, url: str, bound: Bound) -> tuple[httpx.Response, bytes]:
        """Send one request and receive the whole response.

        The errors reference no httpx objects: its requests hold the key, and some log handlers
        print the objects that an exception references.
        """
        try:
            async with asyncio.timeout(self._timeout), self._http.stream("GET", url) as response:
                if response.status_code == httpx.codes.OK:  # costs a credit even if unusable
                    self._throttle.charged()
                return response, await answer_bounds.receive(response, bound)
        except errors.UpstreamError:
            raise
        except Exception as error:  # noqa: BLE001 - malformed responses raise errors of any layer
            raise errors.error_from_failure(error, self._scrub) from None

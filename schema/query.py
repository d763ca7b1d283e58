"""The queries."""

from typing import Annotated, cast

import strawberry

from models.prices.granularity import Granularity as StoredGranularity
from resolvers import coins as coin_answers
from resolvers import runs as run_answers
from resolvers import series as series_answers
from resolvers.aligned import align, aligned_request
from resolvers.analysis import anomalies as anomaly_answers
from resolvers.fill import FillPolicy as StoredPolicy
from resolvers.names import clean
from schema.context import Info
from schema.refresh_service import RefreshPlan
from schema.scalars import given
from schema.types.aligned import AlignedPrices
from schema.types.anomalies import Anomaly, AnomalyList, AnomalyWindow, Threshold
from schema.types.arguments import (
    USD,
    After,
    CoinArgument,
    CoinsArgument,
    CurrenciesArgument,
    CurrencyArgument,
    FillArgument,
    FillPolicy,
    First,
    From,
    Granularity,
    GranularityArgument,
    OrderArgument,
    PageSize,
    SortDirection,
    To,
)
from schema.types.coins import Coin, CoinConnection, CoinFilter, Currency
from schema.types.freshness import SeriesStatus
from schema.types.latest import LatestList, LatestPrice
from schema.types.prices import PriceSeries, SeriesArguments
from schema.types.refresh_input import RefreshPricesInput
from schema.types.refresh_runs import RefreshRun, RefreshRunConnection

DOLLARS = [USD]


@strawberry.type(description="What can be asked.")
class Query:
    @strawberry.field(description="One coin by its id.")
    async def coin(self, info: Info, id: CoinArgument) -> Coin | None:  # noqa: A002 - the contract's name
        return Coin.from_row(
            await coin_answers.coin(info.context.database, info.context.footprint, id)
        )

    @strawberry.field(
        description="The coins that are kept, in pages: by id, or the best matches of a search "
        "first."
    )
    async def coins(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's name
            CoinFilter | None, strawberry.argument(description="Which coins; without it, all.")
        ] = strawberry.UNSET,
        first: PageSize = 50,
        after: After = strawberry.UNSET,
    ) -> CoinConnection:
        wanted = (filter or CoinFilter()).match(info.context)
        page = await coin_answers.page(
            info.context.database, info.context.footprint, wanted, first, given(after)
        )
        return CoinConnection.from_page(page, wanted, info.context)

    @strawberry.field(description="The currencies that prices are kept in, by code.")
    async def currencies(self, info: Info) -> list[Currency]:
        rows = await coin_answers.currencies(info.context.database, info.context.footprint)
        return [Currency.from_row(row) for row in rows]

    @strawberry.field(
        description="Prices of one coin in one currency over a range of time. Page through long "
        "ranges with `first` and `next`."
    )
    async def prices(
        self,
        info: Info,
        coin: CoinArgument,
        currency: CurrencyArgument = USD,
        from_: From = strawberry.UNSET,
        to: To = strawberry.UNSET,
        granularity: GranularityArgument = Granularity.HOUR,
        order: OrderArgument = SortDirection.ASC,
        first: First = strawberry.UNSET,
        fill: FillArgument = FillPolicy.NONE,
    ) -> PriceSeries:
        asked = SeriesArguments(from_, to, granularity, order, first, fill)
        return await asked.answer((clean(coin), clean(currency)), info)

    @strawberry.field(
        description="The newest known prices, by coin and currency. A series that has none is "
        "left out."
    )
    async def latest_prices(
        self,
        info: Info,
        coins: CoinsArgument = strawberry.UNSET,
        currencies: CurrenciesArgument = strawberry.UNSET,
    ) -> list[LatestPrice]:
        context = info.context
        rows = await series_answers.latest(
            context.database, context.footprint, given(coins), given(currencies)
        )
        return cast("list[LatestPrice]", LatestList(rows, context.now, context.footprint))

    @strawberry.field(
        description="Hours whose price moved as the hours before gave no reason to expect, by time "
        "and then by falling score: their log return lies more than `threshold` robust deviations "
        "from the median of the `window` hours before. Each says with `scope` whether the market, "
        "a currency, a coin or the source moved. Up to 10,000 hours and 500,000 prices (series × "
        "hours), with a wide `window` fewer, are searched at a time, and up to 10,000 anomalies "
        "given; more are refused."
    )
    async def anomalies(
        self,
        info: Info,
        coins: CoinsArgument = strawberry.UNSET,
        currencies: CurrenciesArgument = strawberry.UNSET,
        from_: From = strawberry.UNSET,
        to: To = strawberry.UNSET,
        threshold: Threshold = 4.0,
        window: AnomalyWindow = 24,
    ) -> list[Anomaly]:
        answer = await anomaly_answers.anomalies(
            info.context.database,
            given(coins),
            given(currencies),
            start=given(from_),
            end=given(to),
            threshold=threshold,
            window=window,
            now=info.context.now,
            footprint=info.context.footprint,
            caller=info.context.caller.name,
        )
        # a sequence like any other, which the columnar executor need not walk
        return cast("list[Anomaly]", AnomalyList(answer))

    @strawberry.field(
        description="Prices of many coins in many currencies on one timeline: up to 100 series "
        "and 200,000 prices; more is refused. Read them as a table: one row for each of "
        "`timestamps`, one column for each of `series`."
    )
    async def aligned_prices(
        self,
        info: Info,
        coins: Annotated[list[strawberry.ID], strawberry.argument(description="The coins' ids.")],
        currencies: Annotated[
            list[strawberry.ID], strawberry.argument(description="The currencies' codes.")
        ] = DOLLARS,
        from_: From = strawberry.UNSET,
        to: To = strawberry.UNSET,
        granularity: GranularityArgument = Granularity.HOUR,
        fill: Annotated[
            FillPolicy,
            strawberry.argument(
                description="What stands in for a price that is missing. With NONE there are only "
                "the buckets in which at least one series has a price; else every bucket of the "
                "range that has begun."
            ),
        ] = FillPolicy.NULL,
    ) -> AlignedPrices:
        context = info.context
        request = aligned_request(
            coins=coins,
            currencies=currencies,
            granularity=StoredGranularity[granularity.name],
            start=given(from_),
            end=given(to),
            fill=StoredPolicy[fill.name],
            now=context.now,
            footprint=context.footprint,
        )
        aligned = await align(context.database, context.footprint, request)
        return AlignedPrices.from_answer(request, aligned)

    @strawberry.field(
        description="What `refreshPrices` with this input would do now: the calls, why and for how "
        "long, and what they cost. Nothing is asked of CoinGecko and nothing is written. A run "
        "that is under way is not taken into account, although `refreshPrices` would join it."
    )
    async def refresh_plan(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's name
            RefreshPricesInput | None,
            strawberry.argument(
                description="What to refresh; without it, what is missing. `wait` and "
                "`idempotencyKey` mean nothing here."
            ),
        ] = strawberry.UNSET,
    ) -> RefreshPlan:
        context = info.context
        context.footprint.changes_untold()
        refresher = context.services.refresher
        scope, _ = (input or RefreshPricesInput()).checked(refresher)
        return await context.plans.plan(scope)

    @strawberry.field(description="One refresh run by its id.")
    async def refresh_run(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The run's id.")],  # noqa: A002 - the contract's name
    ) -> RefreshRun | None:
        row = await run_answers.run(info.context.database, info.context.footprint, id)
        return RefreshRun.from_row(row, info.context.now)

    @strawberry.field(description="Refresh runs, the newest first, in pages.")
    async def refresh_runs(
        self, info: Info, first: PageSize = 20, after: After = strawberry.UNSET
    ) -> RefreshRunConnection:
        now = info.context.now
        page = await run_answers.page(
            info.context.database, info.context.footprint, first, given(after)
        )
        nodes = [RefreshRun.from_row(row, now) for row in page.rows]
        return RefreshRunConnection(nodes=nodes, page=page)

    @strawberry.field(description="How fresh each series is, and why when it is stale.")
    async def series_status(
        self,
        info: Info,
        coins: CoinsArgument = strawberry.UNSET,
        currencies: CurrenciesArgument = strawberry.UNSET,
    ) -> list[SeriesStatus]:
        context = info.context
        rows = await series_answers.status(
            context.database,
            context.footprint,
            given(coins),
            given(currencies),
            now=context.now,
            stale_after=context.services.stale_after,
            tracked=context.tracked,
        )
        return [SeriesStatus.from_row(row, context.now) for row in rows]

"""The root of all queries."""

from typing import Annotated, cast

import strawberry

from models.prices.granularity import Granularity as StoredGranularity
from resolvers import coins as coin_resolvers
from resolvers import runs as run_resolvers
from resolvers import series as series_resolvers
from resolvers.aligned import align, aligned_request
from resolvers.analysis import anomalies as anomaly_search
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
    RunIdArgument,
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


@strawberry.type(description="The root of all queries.")
class Query:
    """The root type `Query`. Resolvers validate arguments and call `resolvers`."""

    @strawberry.field(
        description="One coin by its id. An id that is not stored gives null and an error with the "
        "code NOT_FOUND."
    )
    async def coin(self, info: Info, id: CoinArgument) -> Coin | None:  # noqa: A002 - the contract's name
        return Coin.from_row(
            await coin_resolvers.coin(info.context.database, info.context.dependencies, id)
        )

    @strawberry.field(
        description="All stored coins, in pages. They are sorted by id or, with `filter.search`, "
        "by how well they match."
    )
    async def coins(
        self,
        info: Info,
        filter: Annotated[  # noqa: A002 - the contract's name
            CoinFilter | None, strawberry.argument(description="The coins to list. Default: all.")
        ] = strawberry.UNSET,
        first: PageSize = 50,
        after: After = strawberry.UNSET,
    ) -> CoinConnection:
        wanted = (filter or CoinFilter()).match(info.context)
        page = await coin_resolvers.page(
            info.context.database, info.context.dependencies, wanted, first, given(after)
        )
        return CoinConnection.from_page(page, wanted, info.context)

    @strawberry.field(description="The currencies in which prices are stored, sorted by code.")
    async def currencies(self, info: Info) -> list[Currency]:
        rows = await coin_resolvers.currencies(info.context.database, info.context.dependencies)
        return [Currency.from_row(row) for row in rows]

    @strawberry.field(
        description="The prices of one coin in one currency over a time range. Read a long range "
        "in pages, with `first` and `next`. A coin or currency that is not stored fails with the "
        "code NOT_FOUND."
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
        arguments = SeriesArguments(from_, to, granularity, order, first, fill)
        return await arguments.answer((clean(coin), clean(currency)), info)

    @strawberry.field(
        description="The newest known price of each series (one coin in one currency), sorted by "
        "coin and then by currency. A series without a price is left out. A name that is not "
        "stored fails with the code NOT_FOUND."
    )
    async def latest_prices(
        self,
        info: Info,
        coins: CoinsArgument = strawberry.UNSET,
        currencies: CurrenciesArgument = strawberry.UNSET,
    ) -> list[LatestPrice]:
        context = info.context
        rows = await series_resolvers.latest(
            context.database, context.dependencies, given(coins), given(currencies)
        )
        return cast("list[LatestPrice]", LatestList(rows, context.now, context.dependencies))

    @strawberry.field(
        description="Hours whose return is an outlier against the preceding window: the log return "
        "lies more than `threshold` robust deviations from the median of the `window` hours "
        "before. Anomalies are reported only: no series leaves them out or changes them. `scope` "
        "names the likely cause: the market, a currency, one coin or the data source. Sorted by "
        "time, then by descending score. One query searches at most 10,000 hours and 500,000 "
        "prices (series × hours) and returns at most 10,000 anomalies; a larger one fails with the "
        "code RANGE_TOO_LARGE. A wide `window` costs more, and so allows fewer hours: see "
        "OPERATION_TOO_COMPLEX."
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
        answer = await anomaly_search.anomalies(
            info.context.database,
            given(coins),
            given(currencies),
            start=given(from_),
            end=given(to),
            threshold=threshold,
            window=window,
            now=info.context.now,
            dependencies=info.context.dependencies,
            caller=info.context.caller.name,
        )
        # the columnar executor encodes it directly
        return cast("list[Anomaly]", AnomalyList(answer))

    @strawberry.field(
        description="The prices of several coins in several currencies on one shared timeline, at "
        "most 100 series and 200,000 prices. A larger query fails with the code RANGE_TOO_LARGE. "
        "The result is a table: one row for each entry of `timestamps`, one column for each entry "
        "of `series`."
    )
    async def aligned_prices(
        self,
        info: Info,
        coins: Annotated[
            list[strawberry.ID],
            strawberry.argument(description="The coins' ids, for example `bitcoin`. At least one."),
        ],
        currencies: Annotated[
            list[strawberry.ID],
            strawberry.argument(
                description="The currencies' codes, for example `usd`. At least one."
            ),
        ] = DOLLARS,
        from_: From = strawberry.UNSET,
        to: To = strawberry.UNSET,
        granularity: GranularityArgument = Granularity.HOUR,
        fill: Annotated[
            FillPolicy,
            strawberry.argument(
                description="What replaces a missing price. With NONE, the timeline has only the "
                "buckets in which at least one series has a price. Otherwise it has every bucket "
                "of the range that has begun."
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
            dependencies=context.dependencies,
        )
        aligned = await align(context.database, context.dependencies, request)
        return AlignedPrices.from_answer(request, aligned)

    @strawberry.field(
        description="A dry run of `refreshPrices`: the calls to CoinGecko that this input would "
        "cause now, the reasons, the duration and the cost in credits. Makes no call to CoinGecko "
        "and writes nothing. Ignores a run in progress, which `refreshPrices` might join."
    )
    async def refresh_plan(
        self,
        info: Info,
        input: Annotated[  # noqa: A002 - the contract's name
            RefreshPricesInput | None,
            strawberry.argument(
                description="What to refresh. Default: everything that is missing. `wait` and "
                "`idempotencyKey` have no effect here."
            ),
        ] = strawberry.UNSET,
    ) -> RefreshPlan:
        context = info.context
        context.dependencies.mark_uncacheable()
        refresher = context.services.refresher
        scope, _ = (input or RefreshPricesInput()).checked(refresher)
        return await context.refresh_plans.plan(scope)

    @strawberry.field(
        description="One refresh run by its id. An id that is not stored gives null and an error "
        "with the code NOT_FOUND."
    )
    async def refresh_run(
        self,
        info: Info,
        id: RunIdArgument,  # noqa: A002 - the contract's name
    ) -> RefreshRun | None:
        row = await run_resolvers.run(info.context.database, info.context.dependencies, id)
        return RefreshRun.from_row(row, info.context.now)

    @strawberry.field(description="All stored refresh runs, newest first, in pages.")
    async def refresh_runs(
        self, info: Info, first: PageSize = 20, after: After = strawberry.UNSET
    ) -> RefreshRunConnection:
        now = info.context.now
        page = await run_resolvers.page(
            info.context.database, info.context.dependencies, first, given(after)
        )
        nodes = [RefreshRun.from_row(row, now) for row in page.rows]
        return RefreshRunConnection(nodes=nodes, page=page)

    @strawberry.field(
        description="How recent and how complete the data of each series (one coin in one "
        "currency) is."
    )
    async def series_status(
        self,
        info: Info,
        coins: CoinsArgument = strawberry.UNSET,
        currencies: CurrenciesArgument = strawberry.UNSET,
    ) -> list[SeriesStatus]:
        context = info.context
        rows = await series_resolvers.status(
            context.database,
            context.dependencies,
            given(coins),
            given(currencies),
            now=context.now,
            stale_after=context.services.stale_after,
            tracked=context.tracked,
        )
        return [SeriesStatus.from_row(row, context.now) for row in rows]

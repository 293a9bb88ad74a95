"""What all customers own together (see `analytics.selectors.queries` for the rules)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from analytics.selectors.queries import fetch_rows
from kamioi_site.db.distribution import limits_per_shard
from kamioi_site.db.replica import read_connection
from transactions.rules.money import CENT, ZERO, rounded
from transactions.selectors.portfolio import percent


@dataclass(frozen=True, slots=True)
class CompanyTotal:
    """All customers' shares of one company at the latest quote; holders and their account types are None if many."""

    ticker: str
    name: str
    shares: Decimal
    cost: Decimal
    price: Decimal | None
    holders: int | None
    account_types: int | None

    @property
    def value(self) -> Decimal | None:
        return None if self.price is None else rounded(self.shares * self.price, CENT)

    @property
    def average_cost(self) -> Decimal:
        """What a share cost, to the hundredth of a cent."""
        return round(self.cost / self.shares, 4)

    @property
    def gain(self) -> Decimal:
        """Zero without a quote."""
        return ZERO if self.value is None else self.value - self.cost

    @property
    def gain_percent(self) -> Decimal:
        return percent(self.gain, self.cost)


@dataclass(frozen=True, slots=True)
class Total:
    """What all customers own: cost of all companies, value and gain of those with a quote."""

    cost: Decimal
    value: Decimal
    gain: Decimal


def total_of(companies: Sequence[CompanyTotal]) -> Total:
    values = {company.ticker: company.value for company in companies if company.value is not None}
    value = sum(values.values(), ZERO)
    priced_cost = sum((company.cost for company in companies if company.ticker in values), ZERO)
    return Total(sum((company.cost for company in companies), ZERO), value, value - priced_cost)


_MAX_HOLDINGS: Final = 500_000
_HOLDINGS: Final = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'holdings'::regclass"
_HELD: Final = """
    SELECT ticker, sum(shares) AS shares, sum(cost_basis) AS cost, count(*) AS holders,
           count(DISTINCT account_type) AS account_types
    FROM holdings JOIN users ON users.id = holdings.user_id WHERE shares > 0 GROUP BY ticker
"""
# The house holds what all customers own, as of the last settlement.
_SETTLED: Final = """
    SELECT ticker, shares, cost_basis AS cost, NULL::bigint AS holders, NULL::bigint AS account_types
    FROM broker_positions WHERE shares > 0
"""
_COMPANIES: Final = """
    SELECT owned.ticker, coalesce(nullif(companies.name, ''), owned.ticker), owned.shares, owned.cost, newest.price,
           owned.holders, owned.account_types
    FROM ({owned}) AS owned LEFT JOIN companies ON companies.ticker = owned.ticker
    LEFT JOIN LATERAL (
        SELECT price FROM stock_prices WHERE stock_prices.ticker = owned.ticker ORDER BY as_of DESC LIMIT 1
    ) AS newest ON true
    ORDER BY owned.cost DESC, owned.ticker
"""


def company_totals() -> list[CompanyTotal]:
    """Return what all customers own by company, the largest investment first.

    Many holdings are not added up in a request: the positions of the house are returned instead.
    """
    many = fetch_rows(_HOLDINGS)[0][0] > _MAX_HOLDINGS
    return [CompanyTotal(*row) for row in fetch_rows(_COMPANIES.format(owned=_SETTLED if many else _HELD))]


@dataclass(frozen=True, slots=True)
class CompanyPurchase:
    """A customer's investment in a company."""

    merchant: str
    date: datetime
    round_up: Decimal
    shares: Decimal


_NEWEST: Final = """
    SELECT companies.ticker, newest.merchant, newest.date, newest.round_up, newest.shares
    FROM unnest(%(tickers)s::text[]) AS companies (ticker) CROSS JOIN LATERAL (
        SELECT merchant, date, round_up, shares, id FROM transactions
        WHERE transactions.ticker = companies.ticker AND status = 'completed'
        ORDER BY date DESC, id DESC LIMIT %(limit)s
    ) AS newest ORDER BY newest.date DESC, newest.id DESC LIMIT 1000000  -- Citus requires one
"""


def newest_purchases(tickers: Sequence[str], *, limit: int = 5) -> dict[str, list[CompanyPurchase]]:
    """Return the newest investments in each of these companies, latest first."""
    newest = defaultdict[str, list[CompanyPurchase]](list)
    with limits_per_shard(read_connection().alias):
        rows = fetch_rows(_NEWEST, tickers=list(tickers), limit=limit)
    for ticker, *row in rows:
        if len(newest[ticker]) < limit:
            newest[ticker].append(CompanyPurchase(*row))
    return newest

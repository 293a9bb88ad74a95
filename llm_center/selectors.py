"""Reads for reviewers: the evidence on a merchant, companies by ticker or name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from django.db import connection

from transactions.models import Company, Merchant, StockPrice

# Rows of a merchant that are looked at for samples and customers.
_LOOK_AT = 200
SIMILAR = 3
COMPANIES = 10

_SAMPLES = """
    SELECT wanted.key, sample.descriptors, sample.customers
    FROM unnest(%(keys)s::text[]) AS wanted (key)
    CROSS JOIN LATERAL (
        SELECT (array_agg(DISTINCT merchant))[1:4] AS descriptors, count(DISTINCT user_id) AS customers
        FROM (
            SELECT merchant, user_id FROM transactions
            WHERE status = 'needs_review' AND merchant_key = wanted.key ORDER BY id LIMIT %(most)s
        ) AS waiting
    ) AS sample
"""
# Decided merchants that begin with the same word, among the first two hundred: a range of the index for LIKE.
_SIMILAR = """
    SELECT wanted.key, decided.merchant_key, decided.status, decided.ticker
    FROM unnest(%(keys)s::text[], %(words)s::text[], %(beyond)s::text[]) AS wanted (key, word, beyond)
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT merchant_key, status, ticker FROM merchants
            WHERE merchant_key ~>=~ wanted.word AND merchant_key ~<~ wanted.beyond
            ORDER BY merchant_key USING ~<~ LIMIT %(look_at)s
        ) AS alike
        WHERE status IN ('approved', 'not_listed') AND merchant_key <> wanted.key LIMIT %(most)s
    ) AS decided
"""


@dataclass(slots=True)
class Evidence:
    """What a reviewer needs to see of a merchant. `customers` counts among the first two hundred waiting purchases."""

    merchant: Merchant
    company: Company | None
    price: StockPrice | None
    descriptors: list[str] = field(default_factory=list)
    customers: int = 0
    similar: list[str] = field(default_factory=list)

    @property
    def percent(self) -> int:
        """How sure the proposal is."""
        return int((self.merchant.confidence or 0) * 100)

    @property
    def many(self) -> bool:
        """Whether there are more waiting purchases than were looked at."""
        return self.merchant.waiting_count > _LOOK_AT


def review_evidence(merchants: Sequence[Merchant]) -> list[Evidence]:
    """The evidence on each of a page of merchants, in four queries whatever their number."""
    tickers = {row.ticker for row in merchants if row.ticker}
    companies = Company.objects.in_bulk(list(tickers), field_name="ticker")
    prices = {
        price.ticker: price
        for price in StockPrice.objects.filter(ticker__in=tickers).order_by("ticker", "-as_of").distinct("ticker")
    }
    found = {
        row.merchant_key: Evidence(row, companies.get(row.ticker or ""), prices.get(row.ticker or ""))
        for row in merchants
    }
    keys = list(found)
    words = [key.split(" ", 1)[0] for key in keys]
    for key, (descriptors, customers) in descriptor_samples(keys).items():
        found[key].descriptors, found[key].customers = descriptors, customers
    with connection.cursor() as cursor:
        beyond = [word[:-1] + chr(ord(word[-1]) + 1) if word else "" for word in words]
        cursor.execute(_SIMILAR, {"keys": keys, "words": words, "beyond": beyond, "most": SIMILAR, "look_at": _LOOK_AT})
        for key, other, status, ticker in cursor.fetchall():
            found[key].similar.append(f"{other} → {ticker if status == 'approved' else 'not listed'}")
    return list(found.values())


def descriptor_samples(merchant_keys: Sequence[str]) -> dict[str, tuple[list[str], int]]:
    """For each merchant: up to four texts that statements wrote for it, and customers, among what waits."""
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLES, {"keys": list(merchant_keys), "most": _LOOK_AT})
        return {key: (descriptors or [], customers) for key, descriptors, customers in cursor.fetchall()}


def merchants_by_prefix(key: str, *, limit: int = 10) -> list[Merchant]:
    """Merchants of the directory whose key begins so, in the order of the index for LIKE; the key itself comes first."""
    if not key:
        return []
    beyond = key[:-1] + chr(ord(key[-1]) + 1)
    found = Merchant.objects.raw(
        "SELECT * FROM merchants WHERE merchant_key ~>=~ %s AND merchant_key ~<~ %s ORDER BY merchant_key USING ~<~ LIMIT %s",
        [key, beyond, limit],
    )
    return list(found)


class CompanyRow(TypedDict):
    """A company that can be bought."""

    ticker: str
    name: str
    exchange: str


def search_companies(term: str) -> list[CompanyRow]:
    """Listed companies whose ticker begins with, or whose name contains, what is typed; tickers first."""
    term = term.strip()[:40]
    if not term:
        return []
    listed = Company.objects.filter(is_listed=True)
    rows = list(listed.filter(ticker__istartswith=term).order_by("ticker")[:COMPANIES])
    rows += listed.filter(name__icontains=term).exclude(pk__in=[row.pk for row in rows]).order_by("name")[:COMPANIES]
    return [{"ticker": row.ticker, "name": row.name, "exchange": row.exchange} for row in rows[:COMPANIES]]

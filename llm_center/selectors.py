"""Reads for reviewers: the evidence for a merchant, and companies by ticker or name."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from django.db import connection

from llm_center.sql import load_sql
from transactions.models import Company, Merchant, StockPrice

# Rows of a merchant that are scanned for samples, customers and similar names.
_SCAN_LIMIT = 200
SIMILAR = 3
COMPANIES = 10


@dataclass(slots=True)
class Evidence:
    """The evidence for one merchant. `customers` counts among the first two hundred waiting transactions."""

    merchant: Merchant
    company: Company | None
    price: StockPrice | None
    descriptors: list[str] = field(default_factory=list)
    customers: int = 0
    similar: list[str] = field(default_factory=list)

    @property
    def percent(self) -> int:
        return int((self.merchant.confidence or 0) * 100)

    @property
    def many(self) -> bool:
        """Whether more transactions wait than were scanned."""
        return self.merchant.waiting_count > _SCAN_LIMIT


def review_evidence(merchants: Sequence[Merchant]) -> list[Evidence]:
    """Return the evidence for a page of merchants, in four queries."""
    tickers = {row.ticker for row in merchants if row.ticker}
    companies = Company.objects.in_bulk(list(tickers), field_name="ticker")
    prices = {
        price.ticker: price
        for price in StockPrice.objects.filter(ticker__in=tickers).order_by("ticker", "-as_of").distinct("ticker")
    }
    evidence = {
        row.merchant_key: Evidence(row, companies.get(row.ticker or ""), prices.get(row.ticker or ""))
        for row in merchants
    }
    keys = list(evidence)
    for key, (descriptors, customers) in descriptor_samples(keys).items():
        evidence[key].descriptors, evidence[key].customers = descriptors, customers
    words = [key.split(" ", 1)[0] for key in keys]
    parameters: dict[str, Any] = {
        "keys": keys,
        "words": words,
        "beyond": [_after_prefix(word) for word in words],
        "limit": SIMILAR,
        "scan_limit": _SCAN_LIMIT,
    }
    with connection.cursor() as cursor:
        cursor.execute(load_sql("similar_merchants"), parameters)
        for key, other, status, ticker in cursor.fetchall():
            evidence[key].similar.append(f"{other} → {ticker if status == 'approved' else 'not listed'}")
    return list(evidence.values())


def descriptor_samples(merchant_keys: Sequence[str]) -> dict[str, tuple[list[str], int]]:
    """Return for each merchant up to four raw descriptors and the number of customers, among what waits."""
    with connection.cursor() as cursor:
        cursor.execute(load_sql("descriptor_samples"), {"keys": list(merchant_keys), "limit": _SCAN_LIMIT})
        return {key: (descriptors or [], customers) for key, descriptors, customers in cursor.fetchall()}


def merchants_by_prefix(key: str, *, limit: int = 10) -> list[Merchant]:
    """Return the merchants whose key starts with `key`, itself first, in the order of the index for LIKE."""
    if not key:
        return []
    rows = Merchant.objects.raw(
        "SELECT * FROM merchants WHERE merchant_key ~>=~ %s AND merchant_key ~<~ %s"
        " ORDER BY merchant_key USING ~<~ LIMIT %s",
        [key, _after_prefix(key), limit],
    )
    return list(rows)


def _after_prefix(text: str) -> str:
    """Return the first text, byte by byte, after all that start with this one."""
    return text[:-1] + chr(ord(text[-1]) + 1) if text else ""


class CompanyRow(TypedDict):
    """A company that can be bought."""

    ticker: str
    name: str
    exchange: str


def search_companies(term: str) -> list[CompanyRow]:
    """Return listed companies whose ticker starts with the term, then those whose name contains it."""
    term = term.strip()[:40]
    if not term:
        return []
    listed = Company.objects.filter(is_listed=True)
    rows = list(listed.filter(ticker__istartswith=term).order_by("ticker")[:COMPANIES])
    rows += listed.filter(name__icontains=term).exclude(pk__in=[row.pk for row in rows]).order_by("name")[:COMPANIES]
    return [{"ticker": row.ticker, "name": row.name, "exchange": row.exchange} for row in rows[:COMPANIES]]

"""Reads for reviewers: the evidence for a merchant, similar merchants that wait, and companies by ticker or name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

from django.db import connection

from llm_center.reasons import Reason, split_reason
from llm_center.sql import load_sql
from transactions.models import Company, Merchant, StockPrice

# Rows of a merchant that are scanned for samples, customers and similar names.
_SCAN_LIMIT = 200
SIMILAR = 3
COMPANIES = 10
# Companies found by their ticker, if at least as many are found by name.
_BY_TICKER = 5
# Merchants of one family that are decided together.
FAMILY = 50
# A single word this long is probably a name.
_NAME_LENGTH = 4


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """A waiting merchant that one decision on a similar merchant may settle as well.

    Attributes:
        is_alike: whether the same company was proposed for both.
        updated_at: the version that the reviewer sees.
    """

    pk: int
    merchant_key: str
    ticker: str
    waiting_count: int
    waiting_amount: Decimal
    updated_at: datetime
    is_alike: bool


@dataclass(slots=True)
class Evidence:
    """The evidence for one merchant. `customers` counts among the first two hundred waiting transactions."""

    merchant: Merchant
    company: Company | None
    price: StockPrice | None
    descriptors: list[str] = field(default_factory=list)
    customers: int = 0
    similar: list[str] = field(default_factory=list)
    family: list[FamilyMember] = field(default_factory=list)

    @property
    def reason(self) -> Reason:
        return split_reason(self.merchant.reason)

    @property
    def percent(self) -> int:
        return int((self.merchant.confidence or 0) * 100)

    @property
    def many(self) -> bool:
        """Whether more transactions wait than were scanned."""
        return self.merchant.waiting_count > _SCAN_LIMIT


def review_evidence(merchants: Sequence[Merchant]) -> list[Evidence]:
    """Return the evidence for a page of merchants, in five queries.

    Merchants that the default decision on an earlier one of the page settles as well are listed only in its family.
    """
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
    folded: set[str] = set()
    for key, family in find_families(merchants).items():
        evidence[key].family = family
        if key not in folded:
            folded |= {member.merchant_key for member in family if member.is_alike}
    return [row for key, row in evidence.items() if key not in folded]


def find_families(merchants: Sequence[Merchant]) -> dict[str, list[FamilyMember]]:
    """Return for each merchant the waiting ones of its family, by key, in one query.

    Merchants are a family if they have the same proposal and the same first word. If one of them has no proposal, their
    first two words must be the same, or one of them consists of the first word.
    """
    starts = [(row.merchant_key, row.ticker or "", start) for row in merchants for start in _starts(row.merchant_key)]
    families: dict[str, dict[str, FamilyMember]] = {row.merchant_key: {} for row in merchants}
    parameters: dict[str, Any] = {
        "keys": [key for key, _, _ in starts],
        "tickers": [ticker for _, ticker, _ in starts],
        "starts": [start for _, _, start in starts],
        # Keys are words between blanks: this is after the words themselves, and after them with a blank and more words.
        "beyond": [_after_prefix(f"{start} ") for _, _, start in starts],
        "scan_limit": _SCAN_LIMIT,
    }
    tickers = {row.merchant_key: row.ticker for row in merchants}
    with connection.cursor() as cursor:
        cursor.execute(load_sql("waiting_families"), parameters)
        for key, pk, other, ticker, count, amount, updated_at in cursor.fetchall():
            is_alike = bool(ticker) and ticker == tickers[key]
            if is_alike or _share_name(key, other):
                families[key][other] = FamilyMember(pk, other, ticker, count, amount, updated_at, is_alike)
    # Those with the same proposal first.
    return {
        key: sorted(family.values(), key=lambda member: not member.is_alike)[:FAMILY]
        for key, family in families.items()
    }


def _starts(key: str) -> set[str]:
    """Return the first word and the first two: the range of a frequent first word may be longer than what is read."""
    words = key.split(" ")
    return {words[0], " ".join(words[:2])} - {""}


def _share_name(one: str, other: str) -> bool:
    """Whether keys with the same first word have the second one in common, or one of them has no second one."""
    words, others = one.split(" ")[:2], other.split(" ")[:2]
    return words == others or (min(len(words), len(others)) == 1 and len(words[0]) >= _NAME_LENGTH)


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
    """Return listed companies whose ticker starts with the term, then those with such words in their name.

    Names are searched from two letters on.
    """
    term = term.replace("\0", "").strip()[:40]
    if not term:
        return []
    # As in the index: without apostrophes, divided at other punctuation.
    words = re.findall(r"[^\W_]+", re.sub("['’]", "", term.lower())) if len(term) > 1 else []
    ticker = term.upper().replace("-", ".")
    ticker = ticker if re.fullmatch(r"[A-Z0-9.]+", ticker) else ""
    parameters: dict[str, Any] = {
        "ticker": ticker,
        "beyond": _after_prefix(ticker),
        "start": term.upper(),
        "words": " & ".join(f"{word}:*" for word in words),
        "limit": COMPANIES,
    }
    with connection.cursor() as cursor:
        cursor.execute(load_sql("search_companies"), parameters)
        rows = cursor.fetchall()
    by_ticker, by_name = ([row[:3] for row in rows if row[3] == found] for found in (True, False))
    by_ticker = by_ticker[: max(_BY_TICKER, COMPANIES - len(by_name))]
    return [
        {"ticker": ticker, "name": name, "exchange": exchange}
        for ticker, name, exchange in (*by_ticker, *by_name)[:COMPANIES]
    ]

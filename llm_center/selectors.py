"""Reads for reviewers: evidence for a merchant, similar merchants that wait, companies, and search of the log."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

from django.db import connection
from django.db.models import Avg, Count, F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from kamioi_site.db.distribution import limits_per_shard
from kamioi_site.http.downloads import csv_line
from kamioi_site.pagination import NUMBERED_ROWS_MAX, Keyset, decode_cursor, encode_cursor
from llm_center.models import LlmCall, LlmMapping
from llm_center.reasons import Reason, split_reason
from llm_center.sql import load_sql
from transactions.models import Company, Merchant, StockPrice, User
from transactions.rules.merchant_key import normalise
from transactions.selectors.staff import escape_like

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
# Merchants whose rows a search of the log returns completely.
_FOUND_MERCHANTS = 100


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
    with limits_per_shard(), connection.cursor() as cursor:
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


def customer_proposals(user: User, *, limit: int = 100) -> list[LlmMapping]:
    """Return the customer's latest proposals."""
    rows = LlmMapping.objects.filter(user=user, source=LlmMapping.Source.USER)
    return list(rows.order_by("-created_at", "-pk")[:limit])


@dataclass(frozen=True, slots=True)
class ProposalCounts:
    """How many proposals there are, by decision."""

    approved: int
    pending: int
    rejected: int

    @property
    def total(self) -> int:
        return self.approved + self.pending + self.rejected

    @property
    def approved_percent(self) -> float | None:
        """Of those that are decided."""
        decided = self.approved + self.rejected
        return round(self.approved * 100 / decided, 2) if decided else None


def proposal_counts(rows: Sequence[LlmMapping]) -> ProposalCounts:
    counts = Counter(row.status for row in rows)
    return ProposalCounts(counts["approved"], counts["pending"], counts["rejected"])


@dataclass(frozen=True, slots=True)
class LlmCallTotals:
    """Calls to language models, dollars, and mean milliseconds; None without calls."""

    calls: int
    failed: int
    cost: Decimal
    tokens: int
    average_ms: float | None

    @property
    def succeeded(self) -> int:
        return self.calls - self.failed

    @property
    def success_rate(self) -> float | None:
        """In percent."""
        return round(self.succeeded * 100 / self.calls, 2) if self.calls else None


def llm_call_totals(since: datetime) -> LlmCallTotals:
    """Return the totals since then."""
    sums = LlmCall.objects.filter(started_at__gte=since).aggregate(
        calls=Count("pk"),
        failed=Count("pk", filter=~Q(error="")),
        cost=Coalesce(Sum("cost"), Decimal(0)),
        tokens=Coalesce(Sum(F("prompt_tokens") + F("completion_tokens")), 0),
        average_ms=Avg("duration_ms"),
    )
    return LlmCallTotals(**sums)


def llm_calls(*, since: datetime, failed: bool | None = None, model: str = "") -> QuerySet[LlmCall, LlmCall]:
    """Return the calls since then, newest first; `model` is part of its name."""
    rows = LlmCall.objects.filter(started_at__gte=since, model__icontains=model).order_by("-started_at", "-pk")
    return rows if failed is None else rows.exclude(error="") if failed else rows.filter(error="")


_CALL_COLUMNS = (
    "started_at", "provider", "model", "merchants", "prompt_tokens", "completion_tokens", "cost", "duration_ms",
    "retries", "error",
)  # fmt: skip


def llm_calls_csv(calls: QuerySet[LlmCall, LlmCall]) -> Iterator[str]:
    """Yield the first 10,000 of these calls as CSV lines."""
    yield csv_line(_CALL_COLUMNS)
    for started_at, *others in calls.values_list(*_CALL_COLUMNS)[:NUMBERED_ROWS_MAX]:
        yield csv_line([started_at.isoformat(), *others])


@dataclass(frozen=True, slots=True)
class MappingSearch:
    """A page of the rows that a search found, newest first, and the number of all of them, up to 10,000."""

    rows: list[LlmMapping]
    total: int
    next_cursor: str | None


def search_mappings(
    text: str, *, status: str | None = None, cursor: str | None = None, page: int = 1, limit: int
) -> MappingSearch:
    """Return a page of the log: rows with this text in merchant, ticker, company or category, in any case.

    They are the rows of up to `_FOUND_MERCHANTS` merchants that contain the text, and those of the newest 10,000 rows
    that contain it themselves. So the cost does not depend on the size of the log or the length of the text.

    Args:
        cursor: of the previous page; without it, `page` is its number.
    """
    scope = f"mappings:{status or 'all'}:{text}"
    order = Keyset("-created_at", "-id")
    after, values = ("true", []) if cursor is None else order.after_sql(_mapping_key(decode_cursor(cursor, scope)))
    parameters: dict[str, Any] = {
        "pattern": f"%{escape_like(text)}%",
        "status": status,
        "window": NUMBERED_ROWS_MAX,
        "limit": limit + 1,
        "offset": 0 if cursor else (page - 1) * limit,
    }
    for number, value in enumerate(values):
        after = after.replace("%s", f"%(after_{number})s", 1)
        parameters[f"after_{number}"] = value
    sql = load_sql("search_mappings").format(status="status = %(status)s" if status else "true", after=after)
    with connection.cursor() as db:
        parameters["keys"] = _find_merchants(db, text)
        db.execute(sql, parameters)
        found = db.fetchall()
    total, keys = min(found[0][0], NUMBERED_ROWS_MAX), [(created_at, pk) for _, created_at, pk in found if pk]
    shown = keys[:limit]
    rows = {}
    if shown:
        times = [created_at for created_at, _ in shown]
        found_rows = LlmMapping.objects.select_related("user").filter(
            pk__in=[pk for _, pk in shown], created_at__range=(min(times), max(times))
        )
        rows = {row.pk: row for row in found_rows}
    next_cursor = encode_cursor(shown[-1], scope) if len(keys) > limit else None
    return MappingSearch([rows[pk] for _, pk in shown if pk in rows], total, next_cursor)


def _mapping_key(key: list[Any]) -> list[Any]:
    return [datetime.fromisoformat(key[0]), key[1]]


def _find_merchants(db: Any, text: str) -> list[str]:
    """Return the keys of merchants that a search finds; an index serves each of the two statements."""
    # Trigrams need three letters in a row, and the index exists where the server has the extension.
    if re.search(r"[^\W_]{3}", text):
        db.execute("SELECT FROM pg_index WHERE indexrelid = to_regclass('idx_merchants_search') AND indisvalid")
        if db.rowcount:
            db.execute(load_sql("search_merchants"), {"pattern": f"%{escape_like(text)}%", "limit": _FOUND_MERCHANTS})
            return [row[0] for row in db.fetchall()]
    key = normalise(text)
    tickers = [text.upper(), *(row["ticker"] for row in search_companies(text))]
    db.execute(
        load_sql("prefix_merchants"),
        {"key": key, "beyond": _after_prefix(key), "tickers": tickers, "limit": _FOUND_MERCHANTS},
    )
    return [row[0] for row in db.fetchall()]

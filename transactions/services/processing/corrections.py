"""Correction of a merchant's purchases of any age: they are reversed at cost and booked again by the current directory.

The work goes by sets of user buckets. One database transaction reverses the purchases of some buckets, posts what the
house gains or loses by the shares it takes back, and stores the counts in the task. Processing then books these
purchases again, before the next buckets are locked. Corrected purchases no longer match, so a task that is run again
continues where it ended.

Customers get back what they paid. The difference between that and the value of their shares is posted as `correction`
(67050 against 12100), at the newest quote known when the task first meets the ticker, however old. Without any quote
the difference is unknown, and the correction is refused. The value is rounded over all shares of a ticker, not in each
batch: the sum is the one that the effect shows, and `settle_positions` sells the shares without another difference.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, F, Sum
from django.db.models.functions import Mod
from django.utils import timezone

from kamioi_site.formatting import moment, money, number, plural
from transactions.cache import invalidate_customers
from transactions.errors import CorrectionNotPossibleError
from transactions.migration_phase import legacy_owns_data
from transactions.models import USER_BUCKETS, BackgroundTask, Merchant, StockPrice, Transaction
from transactions.models.ledger import MAX_BOOKINGS
from transactions.rules.market_hours import market_is_open, oldest_execution_price
from transactions.rules.money import CENT, ZERO
from transactions.services.background_tasks import heartbeat, store_result
from transactions.services.processing.batch import process_until_gone
from transactions.services.processing.buckets import ALL_BUCKETS, BUCKETS_PER_BATCH, lock_buckets
from transactions.sql import load_sql

# Ids of purchases that a report names.
MAX_EXAMPLES: Final = 100
_OBSTACLES: Final = {
    "legacy": "of the legacy system without a booking",
    "bookings": f"booked {MAX_BOOKINGS} times, the most that is possible",
    "erased": "of erased customers",
}
_SETTLED: Final = (
    Transaction.Status.COMPLETED,
    Transaction.Status.MAPPED,
    Transaction.Status.AWAITING_PRICE,
    Transaction.Status.NOT_LISTED,
)


@dataclass(frozen=True, slots=True)
class Returned:
    """What customers give back of one company: shares with their cost, and the fees, which stay or are returned."""

    ticker: str
    price: Decimal
    quoted_at: datetime
    purchases: int = 0
    shares: Decimal = Decimal(0)
    cost: Decimal = ZERO
    fees: Decimal = ZERO

    @property
    def value(self) -> Decimal:
        # Rounded as the order that sells the shares (settle_positions.sql).
        return (self.shares * self.price).quantize(CENT, ROUND_HALF_UP)

    @property
    def difference(self) -> Decimal:
        return self.value - self.cost

    def plus(self, purchases: int, shares: Decimal, cost: Decimal, fees: Decimal) -> "Returned":
        return replace(
            self,
            purchases=self.purchases + purchases,
            shares=self.shares + shares,
            cost=self.cost + cost,
            fees=self.fees + fees,
        )

    def as_json(self) -> dict[str, Any]:
        amounts = {
            name: str(getattr(self, name)) for name in ("price", "shares", "cost", "fees", "value", "difference")
        }
        return {"ticker": self.ticker, "quoted_at": self.quoted_at.isoformat(), "purchases": self.purchases, **amounts}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Returned":
        amounts = (Decimal(row[name]) for name in ("shares", "cost", "fees"))
        return cls(
            row["ticker"], Decimal(row["price"]), datetime.fromisoformat(row["quoted_at"]), row["purchases"], *amounts
        )

    @property
    def text(self) -> str:
        outcome = "a gain" if self.difference >= 0 else "a loss"
        return (
            f"{number(self.shares)} shares of {self.ticker} are taken back and sold: cost {money(self.cost)}, worth"
            f" {money(self.value)} at {money(self.price)} ({moment(self.quoted_at)} UTC), {outcome} of"
            f" {money(abs(self.difference))}"
        )


@dataclass(frozen=True, slots=True)
class CorrectionEffect:
    """What a correction would do now, at the newest quotes.

    Attributes:
        round_ups: dollars of the purchases, to be invested in the new company or returned.
        held: purchases of customers who are suspended or unverified, which are not bought.
        price: newest quote of the new company; None without one, or for "not listed".
        left: obstacle → number and first ids of the purchases that cannot be moved.
    """

    ticker: str | None
    purchases: int = 0
    customers: int = 0
    round_ups: Decimal = ZERO
    held: int = 0
    returned: tuple[Returned, ...] = ()
    shares_bought: Decimal = Decimal(0)
    price: Decimal | None = None
    bought_now: bool = True
    left: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def difference(self) -> Decimal:
        return sum((row.difference for row in self.returned), ZERO)

    @property
    def lines(self) -> list[str]:
        if not self.purchases:
            return left_lines(self.left)
        lines = [
            f"{plural(self.purchases, 'purchase')} of {plural(self.customers, 'customer')} with"
            f" {money(self.round_ups)} of round-ups are booked again"
        ]
        lines += [row.text for row in self.returned]
        if self.ticker is None:
            paid = sum((row.cost + row.fees for row in self.returned), ZERO)
            lines.append(f"{money(paid)} of round-ups and fees are returned to the customers")
        elif self.price is None or not self.bought_now:
            lines.append(f"{self.ticker} is bought as soon as the market is open and there is a current quote")
        else:
            lines.append(f"{number(self.shares_bought)} shares of {self.ticker} are bought at {money(self.price)}")
        if self.held:
            lines.append(f"{plural(self.held, 'purchase')} of suspended or unverified customers wait on hold")
        return lines + left_lines(self.left)

    def as_json(self) -> dict[str, Any]:
        return {
            "ticker": self.ticker,
            "purchases": self.purchases,
            "customers": self.customers,
            "round_ups": self.round_ups,
            "returned": [row.as_json() for row in self.returned],
            "shares_bought": self.shares_bought,
            "difference": self.difference,
            "held": self.held,
            "left": self.left,
        }


def left_lines(left: dict[str, dict[str, Any]]) -> list[str]:
    """Describe what cannot be corrected, with the first ids."""
    return [
        f"{plural(row['purchases'], 'purchase')} {_OBSTACLES[obstacle]} cannot be moved: "
        + ", ".join(str(pk) for pk in row["ids"])
        + (" and more" if row["purchases"] > len(row["ids"]) else "")
        for obstacle, row in left.items()
    ]


def correction_effect(*, merchant_key: str, ticker: str | None) -> CorrectionEffect:
    """Return what correcting the merchant's purchases would do now.

    Args:
        ticker: the right company; None for "not listed".

    Raises:
        CorrectionNotPossibleError: there is no quote of a company whose shares are taken back.
    """
    now = timezone.now()
    quote = newest_quote(ticker, now) if ticker else None
    price = quote.price if quote else None
    with connection.cursor() as cursor:
        cursor.execute(
            load_sql("correction_effect"),
            {
                "merchant_key": merchant_key,
                "ticker": ticker,
                "price": price,
                "max_bookings": MAX_BOOKINGS,
                "examples": MAX_EXAMPLES,
                "now": now,
            },
        )
        rows = cursor.fetchall()
    effect = CorrectionEffect(
        ticker,
        price=price,
        bought_now=market_is_open(now) and quote is not None and quote.as_of >= oldest_execution_price(now),
    )
    returned: list[Returned] = []
    left: dict[str, dict[str, Any]] = {}
    for obstacle, old, is_total, purchases, customers, round_ups, bought, held, ids, old_price, *sums in rows:
        if is_total and obstacle is not None:
            left[obstacle] = {"purchases": purchases, "ids": ids}
        elif is_total:
            effect = replace(
                effect,
                purchases=purchases,
                customers=customers,
                round_ups=round_ups,
                shares_bought=bought,
                held=held if ticker else 0,
            )
        elif obstacle is None and sums[1]:
            if old_price is None:
                raise CorrectionNotPossibleError(_no_quote(old))
            returned.append(Returned(old, old_price, *sums))
    return replace(effect, returned=tuple(returned), left=left)


def newest_quote(ticker: str, now: datetime) -> StockPrice | None:
    """Return the newest quote, however old."""
    return StockPrice.objects.filter(ticker=ticker, as_of__lte=now).order_by("-as_of").first()


def correct_bookings(*, task: BackgroundTask, merchant: Merchant, decision_id: int) -> None:
    """Correct the purchases of a decided merchant as this task, whose result becomes the report.

    A decision that is undone or replaced meanwhile stops the correction.

    Raises:
        CorrectionNotPossibleError: a quote is missing, or the legacy system owns the data.
    """
    if legacy_owns_data():
        raise CorrectionNotPossibleError("The legacy system still owns the data.")
    if not task.result:
        effect = correction_effect(merchant_key=merchant.merchant_key, ticker=merchant.ticker)
        task.result = {
            "merchant": merchant.merchant_key,
            "ticker": merchant.ticker,
            "purchases": 0,
            "customers": 0,
            "returned": [],
            "left": effect.left,
        }
    pending = Transaction.objects.annotate(bucket=Mod(F("user_id"), USER_BUCKETS)).filter(
        merchant_key=merchant.merchant_key, status=Transaction.Status.PENDING, priority=Transaction.Priority.CORRECTION
    )
    for buckets in _bucket_sets(task.total or 0):
        _reverse(task, merchant, decision_id, buckets)
        process_until_gone(pending.filter(bucket__in=buckets), buckets)
        heartbeat(task=task, progress=task.result["purchases"], total=task.total)
    _complete_report(task, merchant, decision_id)


def _bucket_sets(purchases: int) -> Iterator[Sequence[int]]:
    """Divide the buckets into sets that processing books in one batch, if the purchases are spread evenly."""
    size = max(1, min(USER_BUCKETS * settings.PROCESS_BATCH_SIZE // max(purchases, 1), BUCKETS_PER_BATCH))
    for start in range(0, USER_BUCKETS, size):
        yield ALL_BUCKETS[start : start + size]


def _reverse(task: BackgroundTask, merchant: Merchant, decision_id: int, buckets: Sequence[int]) -> None:
    """Reverse the purchases of these buckets and post the differences, in one transaction with the report."""
    report, reference = deepcopy(task.result), f"correction by decision {decision_id}"
    with transaction.atomic(), connection.cursor() as cursor:
        lock_buckets(cursor, buckets)
        now = timezone.now()
        cursor.execute(
            load_sql("correct_bookings"),
            {
                "merchant_key": merchant.merchant_key,
                "merchant": merchant.display_name,
                "ticker": merchant.ticker,
                "decision": decision_id,
                "buckets": list(buckets),
                "max_bookings": MAX_BOOKINGS,
                "priority": Transaction.Priority.CORRECTION,
                "reference": reference,
                "now": now,
            },
        )
        rows = cursor.fetchall()
        if not rows:
            return
        customers = {user_id for row in rows for user_id in row[-1]}
        report["purchases"] += sum(row[1] for row in rows)
        report["customers"] += len(customers)
        differences = _take_back(report, [row for row in rows if row[2]], now)
        cursor.execute(
            load_sql("post_correction"),
            {
                "tickers": list(differences),
                "differences": list(differences.values()),
                "reference": reference,
                "now": now,
            },
        )
        store_result(task=task, result=report)
        invalidate_customers(customers)
    task.result = report


def _take_back(report: dict[str, Any], rows: Sequence[tuple[Any, ...]], now: datetime) -> dict[str, Decimal]:
    """Add the shares to the report; return by how much the difference of each ticker changes."""
    known = {row["ticker"]: Returned.from_json(row) for row in report["returned"]}
    changes: dict[str, Decimal] = {}
    for ticker, _, booked, shares, cost, fees, _ in rows:
        before = known.get(ticker)
        if before is None:
            quote = newest_quote(ticker, now)
            if quote is None:
                raise CorrectionNotPossibleError(_no_quote(ticker))
            before = Returned(ticker, quote.price, quote.as_of)
        known[ticker] = before.plus(booked, shares, cost, fees)
        changes[ticker] = known[ticker].difference - before.difference
    report["returned"] = [row.as_json() for row in known.values()]
    return changes


def _complete_report(task: BackgroundTask, merchant: Merchant, decision_id: int) -> None:
    """Add what was booked again, and the report in words."""
    rows = Transaction.objects.filter(
        merchant_key=merchant.merchant_key,
        decision_id=decision_id,
        status__in=_SETTLED,
        priority=Transaction.Priority.CORRECTION,
    )
    sums = rows.values("status").annotate(count=Count("pk"), invested=Sum("investable"), bought=Sum("shares"))
    booked = {row["status"]: row for row in sums}
    invested = booked.get(Transaction.Status.COMPLETED)
    report = task.result
    returned = [Returned.from_json(row) for row in report["returned"]]
    report |= {
        "difference": str(sum((row.difference for row in returned), ZERO)),
        "booked": {status: row["count"] for status, row in booked.items()},
        "invested": str((invested and invested["invested"]) or ZERO),
        "shares_bought": str((invested and invested["bought"]) or 0),
        "stopped": not Merchant.objects.filter(pk=merchant.pk, decision_id=decision_id).exists(),
    }
    again = ", ".join(
        f"{count:,} {Transaction.Status(status).label.lower()}" for status, count in report["booked"].items()
    )
    report["summary"] = [
        f"{plural(report['purchases'], 'purchase')} of {plural(report['customers'], 'customer')} were corrected to"
        f" {merchant.ticker or 'not listed'}: {again or 'none settled'}",
        *(row.text for row in returned),
        f"{money(Decimal(report['invested']))} were invested in {number(Decimal(report['shares_bought']))} shares",
        *left_lines(report["left"]),
        *(["The merchant was decided again, which stopped the correction"] if report["stopped"] else []),
    ]


def _no_quote(ticker: str) -> str:
    return f"No quote of {ticker} is known, so its shares cannot be valued. Import a price first."

"""The home page of the admin: what waits, and what happened today.

Every figure is bounded: a table of billions is looked at through an index and no further than `LOOK_AT` rows.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from analytics.dashboards import DASHBOARDS
from llm_center.models import MappingDecision
from llm_center.services.review.queue import queue_totals, queue_totals_cached
from transactions.models import BackgroundTask, StatementImport, StockPrice, Transaction

LOOK_AT = 50_000

# Rows that came in today, newest first, no more than we look at.
_TODAY = """
    SELECT status, count(*), coalesce(sum(investable) FILTER (WHERE status = 'completed'), 0),
           coalesce(sum(fee) FILTER (WHERE status = 'completed'), 0)
    FROM (
        SELECT status, investable, fee FROM transactions WHERE created_at >= %(since)s ORDER BY created_at DESC LIMIT %(most)s
    ) AS today
    GROUP BY status
"""
_WAITING = """
    SELECT 'pending', count(*) FROM (SELECT 1 FROM transactions WHERE status = 'pending' LIMIT %(most)s) AS waiting
    UNION ALL
    SELECT 'awaiting_price', count(*) FROM (SELECT 1 FROM transactions WHERE status = 'awaiting_price' LIMIT %(most)s) AS waiting
    UNION ALL
    SELECT 'failed', count(*) FROM (SELECT 1 FROM transactions WHERE status = 'failed' LIMIT %(most)s) AS waiting
    UNION ALL
    SELECT 'orders', count(*) FROM (SELECT 1 FROM orders WHERE status = 'queued' LIMIT %(most)s) AS waiting
"""
_WORDS = {
    "completed": "invested",
    "not_listed": "nobody to invest in",
    "needs_review": "waiting for a reviewer",
    "pending": "being processed",
    "mapped": "ordered for the open",
    "awaiting_price": "waiting for a price",
    "refunded": "refunds",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class Today:
    """What came in since midnight UTC. `capped` says that there was more than is looked at."""

    statuses: list[tuple[str, str, int, float]]
    count: int
    invested: Decimal
    fees: Decimal
    capped: bool


def today(now: datetime) -> Today:
    """Transactions that came in today, by what became of them: (status, words, count, percent)."""
    with connection.cursor() as cursor:
        cursor.execute(_TODAY, {"since": now.replace(hour=0, minute=0, second=0, microsecond=0), "most": LOOK_AT})
        rows = cursor.fetchall()
    total = sum(row[1] for row in rows)
    return Today(
        statuses=[
            (status, _WORDS.get(status, status), count, round(100 * count / total, 1))
            for status, count, *_ in sorted(rows, key=lambda row: -row[1])
        ],
        count=total,
        invested=sum((row[2] for row in rows), Decimal("0.00")),
        fees=sum((row[3] for row in rows), Decimal("0.00")),
        capped=total >= LOOK_AT,
    )


def waiting() -> dict[str, int]:
    """Rows that wait, by what for; `LOOK_AT` means that many or more."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, {"most": LOOK_AT})
        return dict(cursor.fetchall())


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the home page."""
    merchants, count, amount = queue_totals()
    statuses = reverse("admin:transactions_transaction_changelist") + "?status__exact="
    found = waiting()
    newest = StockPrice.objects.order_by("-id").first()
    context |= {
        "title": "Home",
        "look_at": LOOK_AT,
        "queue": {"merchants": merchants, "transactions": count, "amount": amount},
        "waiting": [
            ("Being processed", found["pending"], statuses + Transaction.Status.PENDING),
            ("Waiting for a price", found["awaiting_price"], statuses + Transaction.Status.AWAITING_PRICE),
            (
                "Ordered for the open",
                found["orders"],
                reverse("admin:transactions_order_changelist") + "?status__exact=queued",
            ),
            ("Failed", found["failed"], statuses + Transaction.Status.FAILED),
        ],
        "today": today(timezone.now()),
        "statements": StatementImport.objects.select_related("user", "task").order_by("-id")[:5],
        "tasks_failed": BackgroundTask.objects.filter(status=BackgroundTask.Status.FAILED).order_by("-created_at")[:3],
        "decisions": MappingDecision.objects.select_related("decided_by").order_by("-id")[:6],
        "newest_price": newest,
        "dashboards": [dashboard for dashboard in DASHBOARDS if request.user.has_perm(dashboard.permission)],
    }
    return context


def queue_badge(request: HttpRequest) -> str:
    """Merchants that wait, beside the menu entry."""
    merchants, _, _ = queue_totals_cached()
    return f"{merchants:,}"

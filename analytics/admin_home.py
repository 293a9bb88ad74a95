"""The home page of the admin: what is pending, and what happened today.

Every number is bounded: large tables are read through an index and no further than `ROW_LIMIT` rows.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from analytics.dashboards import DASHBOARDS
from llm_center.models import MappingDecision
from llm_center.services.review.queue import queue_totals, queue_totals_cached
from transactions.models import BackgroundTask, StatementImport, StockPrice, Transaction

ROW_LIMIT: Final = 50_000

_TODAY: Final = """
    SELECT status, count(*), coalesce(sum(investable) FILTER (WHERE status = 'completed'), 0),
           coalesce(sum(fee) FILTER (WHERE status = 'completed'), 0)
    FROM (
        SELECT status, investable, fee FROM transactions
        WHERE created_at >= %(since)s ORDER BY created_at DESC LIMIT %(limit)s
    ) AS newest
    GROUP BY status
"""
_PENDING: Final = " UNION ALL ".join(
    f"SELECT '{name}', count(*) FROM (SELECT 1 FROM {table} WHERE status = '{status}' LIMIT %(limit)s) AS rows"  # noqa: S608
    for name, table, status in (
        *((status, "transactions", status) for status in ("pending", "awaiting_price", "on_hold", "failed")),
        ("orders", "orders", "queued"),
    )
)
_OUTCOMES: Final = {
    "completed": "Invested",
    "not_listed": "Not listed",
    "needs_review": "Awaiting review",
    "pending": "Processing",
    "mapped": "Queued for market open",
    "awaiting_price": "Awaiting a price",
    "on_hold": "On hold",
    "excluded": "Not purchases",
    "refunded": "Refunds",
    "undone": "Undone",
    "failed": "Failed",
}


@dataclass(frozen=True, slots=True)
class Today:
    """Transactions received since midnight UTC: (status, label, count, percent); `capped` at the newest rows."""

    statuses: list[tuple[str, str, int, float]]
    count: int
    invested: Decimal
    fees: Decimal
    capped: bool


def received_today(now: datetime) -> Today:
    """Count the transactions received today by status."""
    with connection.cursor() as cursor:
        cursor.execute(_TODAY, {"since": now.replace(hour=0, minute=0, second=0, microsecond=0), "limit": ROW_LIMIT})
        rows = cursor.fetchall()
    total = sum(row[1] for row in rows)
    return Today(
        statuses=[
            (status, _OUTCOMES.get(status, status), count, round(100 * count / total, 1))
            for status, count, *_ in sorted(rows, key=lambda row: -row[1])
        ],
        count=total,
        invested=sum((row[2] for row in rows), Decimal("0.00")),
        fees=sum((row[3] for row in rows), Decimal("0.00")),
        capped=total >= ROW_LIMIT,
    )


def pending_counts() -> dict[str, int]:
    """Count pending rows by status, each up to `ROW_LIMIT`."""
    with connection.cursor() as cursor:
        cursor.execute(_PENDING, {"limit": ROW_LIMIT})
        return dict(cursor.fetchall())


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the context of the home page."""
    merchants, count, amount = queue_totals()
    transactions = reverse("admin:transactions_transaction_changelist") + "?status__exact="
    orders = reverse("admin:transactions_order_changelist") + "?status__exact=queued"
    pending = pending_counts()
    failed_tasks = BackgroundTask.objects.filter(status=BackgroundTask.Status.FAILED)
    context |= {
        "title": "Home",
        "row_limit": ROW_LIMIT,
        "queue": {"merchants": merchants, "transactions": count, "amount": amount},
        "pending": [
            ("Processing", pending["pending"], transactions + Transaction.Status.PENDING),
            ("Awaiting a price", pending["awaiting_price"], transactions + Transaction.Status.AWAITING_PRICE),
            ("On hold", pending["on_hold"], transactions + Transaction.Status.ON_HOLD),
            ("Queued for market open", pending["orders"], orders),
            ("Failed", pending["failed"], transactions + Transaction.Status.FAILED),
        ],
        "today": received_today(timezone.now()),
        "statements": StatementImport.objects.select_related("user", "task").order_by("-id")[:5],
        "failed_tasks": failed_tasks.order_by("-created_at")[:3],
        "decisions": MappingDecision.objects.select_related("decided_by").order_by("-id")[:6],
        "newest_price": StockPrice.objects.order_by("-id").first(),
        "dashboards": [dashboard for dashboard in DASHBOARDS if request.user.has_perm(dashboard.permission)],
    }
    return context


def queue_badge(request: HttpRequest) -> str:
    """Return the number of merchants in the review queue for the menu."""
    merchants, _, _ = queue_totals_cached()
    return f"{merchants:,}"

"""A customer's own data in the form of the API: profile, notifications, goals, totals, statements and tasks.

Every function takes the user and never returns another's rows. Amounts are dollars (`Decimal`), times aware UTC.
Nothing here counts or skips through a large table.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, TypedDict, cast
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from kamioi_site.http.downloads import csv_line, rows_in_pages
from transactions.migration_phase import KAMIOI, ReadSource
from transactions.models import BackgroundTask, Goal, Notification, Transaction, User
from transactions.rules.merchant_key import normalise
from transactions.rules.money import ZERO
from transactions.selectors.portfolio import percent
from transactions.selectors.transaction_pages import NEWEST, transactions_of


class NotificationRow(TypedDict):
    """A notification."""

    id: int
    title: str
    message: str
    type: str
    read: bool
    created_at: datetime


def newest_notifications(user: User, source: ReadSource = KAMIOI) -> list[NotificationRow]:
    """Return the latest hundred notifications."""
    legacy_rows = source.legacy.notifications(NEWEST) if source.legacy else None
    return [
        {
            "id": row.pk,
            "title": row.title,
            "message": row.message,
            "type": row.type,
            "read": row.read,
            "created_at": row.created_at,
        }
        for row in (
            Notification.objects.filter(user=user).order_by("-id")[:NEWEST] if legacy_rows is None else legacy_rows
        )
    ]


_NOTIFICATION_COLUMNS: Final = ("created_at", "type", "title", "message", "read")


def notifications_csv(user: User) -> Iterator[str]:
    """Yield all notifications as CSV lines, newest first."""
    yield csv_line(_NOTIFICATION_COLUMNS)
    rows = Notification.objects.filter(user=user)
    for created_at, *others in rows_in_pages(rows, _NOTIFICATION_COLUMNS, order=("-id",)):
        yield csv_line([created_at.isoformat(), *others])


def task_visible_to(user: User, task_id: UUID) -> BackgroundTask | None:
    """Return the task if it is the user's own, or one that the user may view as staff."""
    task = BackgroundTask.objects.filter(pk=task_id).select_related("statement").first()
    return task if task is not None and task.is_visible_to(user) else None


class Profile(TypedDict):
    """A customer's profile, with the keys of the front ends."""

    id: int
    email: str
    name: str
    firstName: str
    lastName: str
    phone: str
    address: str
    city: str
    state: str
    zipCode: str
    country: str
    timezone: str
    companyName: str
    accountType: str
    accountNumber: str | None
    userGuid: str
    roundUpAmount: int
    roundUpEnabled: bool
    roundUpRule: str
    riskTolerance: str
    investmentGoals: str
    emailVerified: bool
    pendingEmail: Annotated[str, "The address that replaces `email` once verified; empty if none."]
    termsAgreed: bool
    privacyAgreed: bool
    marketingAgreed: bool
    createdAt: datetime
    updatedAt: datetime
    subscription: Annotated[dict[str, Any] | None, "Always null: Kamioi has no subscriptions."]


def profile(user: User) -> Profile:
    first, _, rest = user.name.partition(" ")
    has_names = user.first_name or user.last_name
    return {
        "id": user.pk,
        "email": user.email,
        "name": user.name,
        "firstName": user.first_name if has_names else first,
        "lastName": user.last_name if has_names else rest,
        "phone": user.phone,
        "address": user.address,
        "city": user.city,
        "state": user.state,
        "zipCode": user.zip_code,
        "country": user.country,
        "timezone": user.time_zone,
        "companyName": user.company_name,
        "accountType": user.account_type,
        "accountNumber": user.account_number,
        "userGuid": user.user_guid,
        "roundUpAmount": user.round_up_amount,
        "roundUpEnabled": user.round_up_enabled,
        "roundUpRule": user.round_up_rule,
        "riskTolerance": user.risk_tolerance,
        "investmentGoals": user.investment_goals,
        "emailVerified": user.email_verified_at is not None,
        "pendingEmail": user.pending_email,
        "termsAgreed": user.terms_agreed_at is not None,
        "privacyAgreed": user.privacy_agreed_at is not None,
        "marketingAgreed": user.marketing_agreed,
        "createdAt": user.created_at,
        "updatedAt": user.updated_at,
        "subscription": None,
    }


class Total(TypedDict):
    """Sums over the customer's completed purchases: of all time, and of the last thirty days."""

    total: Decimal
    monthly: Decimal
    count: int
    monthly_count: int


def completed_total(user: User, column: str) -> Total:
    """Return the sums of `column` ("round_up" or "fee"). An index keeps the customer's rows together."""
    recent = Q(date__gte=timezone.now() - timedelta(days=30))
    sums = Transaction.objects.filter(user=user, status=Transaction.Status.COMPLETED).aggregate(
        total=Coalesce(Sum(column), ZERO),
        monthly=Coalesce(Sum(column, filter=recent), ZERO),
        count=Count("pk"),
        monthly_count=Count("pk", filter=recent),
    )
    return cast("Total", sums)


class Overview(TypedDict):
    """Figures over all of a customer's purchases, this month's and last month's (UTC)."""

    total_transactions: int
    total_revenue: Decimal
    total_roundups: Decimal
    monthly_purchases: Decimal
    monthly_revenue: Decimal
    revenue_growth: Annotated[Decimal | None, "Percent; null if there was none last month."]
    invested_transactions: int
    total_invested: Decimal
    mapped_transactions: int
    available_to_invest: Decimal


_NO_PURCHASES: Final = (Transaction.Status.EXCLUDED, Transaction.Status.UNDONE)


def overview(user: User) -> Overview:
    """Return the figures. “Revenue” is what the business page calls spending, and by month the round-ups."""
    first = timezone.now().astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month, before = Q(date__gte=first), Q(date__gte=(first - timedelta(days=1)).replace(day=1), date__lt=first)
    completed = Q(status=Transaction.Status.COMPLETED)
    mapped = Q(status__in=[Transaction.Status.MAPPED, Transaction.Status.AWAITING_PRICE])

    def total(column: str, rows: Q | None = None) -> Coalesce:
        return Coalesce(Sum(column, filter=rows), ZERO)

    sums = (
        Transaction.objects.filter(user=user, amount__gt=0)
        .exclude(status__in=_NO_PURCHASES)
        .aggregate(
            total_transactions=Count("pk"),
            total_revenue=total("amount"),
            total_roundups=total("round_up"),
            monthly_purchases=total("amount", month),
            monthly_revenue=total("round_up", month),
            before=total("round_up", before),
            invested_transactions=Count("pk", filter=completed),
            total_invested=total("investable", completed),
            mapped_transactions=Count("pk", filter=mapped),
            available_to_invest=total("round_up", mapped),
        )
    )
    last = sums.pop("before")
    growth = percent(sums["monthly_revenue"] - last, last) if last else None
    return cast("Overview", sums | {"revenue_growth": growth})


def waiting_transaction_ids(user: User, merchant: str) -> list[int]:
    """Return the customer's latest hundred purchases that wait for a decision on this merchant."""
    rows = Transaction.objects.filter(
        user=user, status=Transaction.Status.NEEDS_REVIEW, merchant_key=normalise(merchant)
    )
    return list(rows.order_by("-date", "-id").values_list("pk", flat=True)[:NEWEST])


class GoalRow(TypedDict):
    """A goal; `progress` in percent, at most 100."""

    id: int
    user_id: int
    title: str
    target_amount: Decimal
    current_amount: Decimal
    progress: Decimal
    goal_type: Annotated[str, Goal.Type]
    details: Annotated[dict[str, Any], "What else a front end stores about the goal."]
    created_at: datetime


def goals(user: User) -> list[Goal]:
    """Return the customer's goals, newest first."""
    return list(Goal.objects.filter(user=user).order_by("-id"))


def goal_row(goal: Goal) -> GoalRow:
    return {
        "id": goal.pk,
        "user_id": goal.user_id,
        "title": goal.title,
        "target_amount": goal.target_amount,
        "current_amount": goal.current_amount,
        "progress": min(Decimal(100), percent(goal.current_amount, goal.target_amount)),
        "goal_type": goal.goal_type,
        "details": goal.details,
        "created_at": goal.created_at,
    }


class StatementRow(TypedDict):
    """A monthly account statement, downloaded from `url`."""

    id: str
    type: str
    period: str
    date: date
    size: str | None
    format: str
    url: str
    created_at: datetime


MONTHS: Final = 24  # listed account statements


def statements(user: User, *, export_url: str) -> list[StatementRow]:
    """Return the months since the customer's first transaction, newest first; each is a download from `export_url`.

    Takes two index lookups, whatever the number of transactions. The size of a statement is unknown until it is
    written.
    """
    own = transactions_of(user).values_list("date", flat=True)
    first, last = own.order_by("date").first(), own.order_by("-date").first()
    if first is None or last is None:
        return []
    months: list[StatementRow] = []
    today = timezone.now().astimezone(UTC).date()
    month = min(last.astimezone(UTC).date(), today).replace(day=1)
    while len(months) < MONTHS and month >= first.astimezone(UTC).date().replace(day=1):
        end = min((month + timedelta(days=31)).replace(day=1) - timedelta(days=1), today)
        months.append(
            StatementRow(
                id=f"{month:%Y-%m}",
                type="monthly",
                period=f"{month:%Y-%m}",
                date=end,
                size=None,
                format="CSV",
                url=f"{export_url}?start_date={month}&end_date={end}",
                created_at=datetime(end.year, end.month, end.day, tzinfo=UTC),
            )
        )
        month = (month - timedelta(days=1)).replace(day=1)
    return months

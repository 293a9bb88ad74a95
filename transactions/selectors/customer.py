"""Reads for people: a customer's transactions, portfolio, notifications and tasks, in the shapes of the API.

Every function takes the user whose rows they are and never shows another's. Amounts are dollars (`Decimal`), times
aware UTC. Nothing here counts or skips through a big table.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from operator import attrgetter
from typing import Any, Final, TypedDict
from uuid import UUID

from django.db import connection
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from kamioi_site.db.prepared import prepared_statement
from transactions.legacy import reads as legacy_reads
from transactions.legacy.reads import from_legacy
from transactions.models import BackgroundTask, Goal, Notification, Order, Transaction, User
from transactions.rules.money import CENT, ZERO, rounded

NEWEST = 100
"""How many rows the lists of the legacy front end show."""


class TransactionRow(TypedDict):
    """A transaction as the front ends know it: `amount` without sign, a refund told by `type`."""

    id: int
    merchant: str
    amount: Decimal
    date: datetime
    category: str
    description: str
    roundup: Decimal
    round_up: Decimal
    investable: Decimal
    total_debit: Decimal
    fee: Decimal
    status: str
    ticker: str | None
    shares: Decimal | None
    price_per_share: Decimal | None
    stock_price: Decimal | None
    type: str
    failure_reason: str


class NotificationRow(TypedDict):
    """A message for the customer."""

    id: int
    title: str
    message: str
    type: str
    read: bool
    created_at: datetime


class HoldingRow(TypedDict):
    """What a customer owns of one company, at its newest quote; worth and gain are None while there is no quote."""

    symbol: str
    name: str
    shares: Decimal
    current_price: Decimal | None
    price_as_of: datetime | None
    purchase_price: Decimal
    total_value: Decimal | None
    gain_loss: Decimal | None
    gain_loss_percent: Decimal | None


class Portfolio(TypedDict):
    """Everything a customer owns. Value and gain are of the holdings that have a quote; `unpriced` counts the others.

    `cash_balance` is money set aside for orders that wait for the market to open.
    """

    total_value: Decimal
    total_invested: Decimal
    total_gain_loss: Decimal
    total_gain_loss_percent: Decimal
    holdings: list[HoldingRow]
    unpriced: int
    cash_balance: Decimal
    last_updated: datetime | None


def transactions_of(user: User) -> QuerySet[Transaction, Transaction]:
    """The customer's transactions, in no order."""
    return Transaction.objects.filter(user=user)


def newest_transactions(user: User, *, is_ours: bool = False) -> list[TransactionRow]:
    """The newest hundred; `is_ours` when it is known that Kamioi's own data answers this customer."""
    answered = None if is_ours else from_legacy(user, partial(legacy_reads.transactions, limit=NEWEST))
    if answered is not None:
        return transaction_rows(answered)
    with prepared_statement(_NEWEST, [user.pk, NEWEST]) as cursor:
        return rows_shown(cursor.fetchall())


def transaction_rows(transactions: Iterable[Transaction]) -> list[TransactionRow]:
    """Transactions in the shape of the front ends."""
    return [transaction_row(transaction) for transaction in transactions]


_SHOWN: Final = (
    "id",
    "merchant",
    "amount",
    "date",
    "category",
    "description",
    "round_up",
    "investable",
    "total_debit",
    "fee",
    "status",
    "ticker",
    "shares",
    "price_per_share",
    "failure_reason",
)
SHOWN: Final = ", ".join(_SHOWN)
"""The columns of a transaction that the front ends see, for `rows_shown`."""
_NEWEST: Final = f"SELECT {SHOWN} FROM transactions WHERE user_id = %s ORDER BY date DESC, id DESC LIMIT %s"  # noqa: S608
_values_of: Final = attrgetter(*_SHOWN)


def rows_shown(rows: Iterable[Sequence[Any]]) -> list[TransactionRow]:
    """Rows of the columns `SHOWN` in the shape of the front ends."""
    return [_shape(*row) for row in rows]


def transaction_row(transaction: Transaction) -> TransactionRow:
    """One transaction in the shape of the front ends."""
    return _shape(*_values_of(transaction))


def _shape(  # noqa: PLR0917  # a row
    pk: int,
    merchant: str,
    amount: Decimal,
    date: datetime,
    category: str,
    description: str,
    round_up: Decimal,
    investable: Decimal,
    total_debit: Decimal,
    fee: Decimal,
    status: str,
    ticker: str | None,
    shares: Decimal | None,
    price_per_share: Decimal | None,
    failure_reason: str,
) -> TransactionRow:
    return {
        "id": pk,
        "merchant": merchant,
        "amount": abs(amount),
        "date": date,
        "category": category,
        "description": description,
        "roundup": round_up,
        "round_up": round_up,
        "investable": investable,
        "total_debit": total_debit,
        "fee": fee,
        "status": status,
        "ticker": ticker,
        "shares": shares,
        "price_per_share": price_per_share,
        "stock_price": price_per_share,
        "type": "refund" if amount < 0 else "purchase",
        "failure_reason": failure_reason,
    }


def newest_notifications(user: User) -> list[NotificationRow]:
    """The newest hundred messages."""
    answered = from_legacy(user, partial(legacy_reads.notifications, limit=NEWEST))
    return [
        {
            "id": row.pk,
            "title": row.title,
            "message": row.message,
            "type": row.type,
            "read": row.read,
            "created_at": row.created_at,
        }
        for row in (Notification.objects.filter(user=user).order_by("-id")[:NEWEST] if answered is None else answered)
    ]


# One step into the unique index of `stock_prices` per holding.
_HOLDINGS = """
    SELECT h.ticker, coalesce(nullif(c.name, ''), h.ticker), h.shares, h.cost_basis, p.price, p.as_of
    FROM {holdings} h
    LEFT JOIN companies c ON c.ticker = h.ticker
    LEFT JOIN LATERAL (
        SELECT price, as_of FROM stock_prices s WHERE s.ticker = h.ticker ORDER BY as_of DESC LIMIT 1
    ) p ON true
    WHERE h.user_id = %s AND h.shares > 0
    ORDER BY h.ticker
"""
_GIVEN_HOLDINGS = """(
    SELECT %s::bigint AS user_id, given.*
    FROM unnest(%s::text[], %s::numeric[], %s::numeric[]) AS given (ticker, shares, cost_basis)
)"""


def portfolio(user: User) -> Portfolio:
    """What the customer owns, at the newest quotes, in two queries."""
    answered = from_legacy(user, legacy_reads.holdings)
    with connection.cursor() as cursor:
        if answered is None:
            cursor.execute(_HOLDINGS.format(holdings="holdings"), [user.pk])
        else:
            columns = [list(column) for column in zip(*answered, strict=True)] or [[], [], []]
            cursor.execute(_HOLDINGS.format(holdings=_GIVEN_HOLDINGS), [user.pk, *columns, user.pk])
        rows = cursor.fetchall()
    cost_of = {row[0]: row[3] for row in rows}
    holdings = [_holding(row) for row in rows]
    value = sum((row["total_value"] for row in holdings if row["total_value"] is not None), ZERO)
    priced_cost = sum((cost_of[row["symbol"]] for row in holdings if row["total_value"] is not None), ZERO)
    waiting = Order.objects.filter(user=user, status=Order.Status.QUEUED).aggregate(
        amount=Coalesce(Sum("amount"), ZERO)
    )
    return {
        "total_value": value,
        "total_invested": sum(cost_of.values(), ZERO),
        "total_gain_loss": value - priced_cost,
        "total_gain_loss_percent": _percent(value - priced_cost, priced_cost),
        "holdings": holdings,
        "unpriced": sum(row["total_value"] is None for row in holdings),
        "cash_balance": waiting["amount"],
        "last_updated": max((row["price_as_of"] for row in holdings if row["price_as_of"] is not None), default=None),
    }


def _holding(row: tuple[str, str, Decimal, Decimal, Decimal | None, datetime | None]) -> HoldingRow:
    ticker, name, shares, cost, price, as_of = row
    value = None if price is None else rounded(shares * price, CENT)
    return {
        "symbol": ticker,
        "name": name,
        "shares": shares,
        "current_price": price,
        "price_as_of": as_of,
        "purchase_price": rounded(cost / shares, CENT),
        "total_value": value,
        "gain_loss": None if value is None else value - cost,
        "gain_loss_percent": None if value is None else _percent(value - cost, cost),
    }


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    return rounded(part * 100 / whole, CENT) if whole else ZERO


def task_visible_to(user: User, task_id: UUID) -> BackgroundTask | None:
    """The task, if it is the user's own or the user is staff."""
    visible = Q() if user.is_staff else Q(user=user)
    return BackgroundTask.objects.filter(visible, pk=task_id).select_related("statement").first()


# --- The customer -----------------------------------------------------------------------------------------------
def profile(user: User) -> dict[str, Any]:
    """What a customer says about themselves, in the names of the front ends. Subscriptions are not ours: null."""
    first, _, rest = user.name.partition(" ")
    known = user.first_name or user.last_name
    return {
        "id": user.pk,
        "email": user.email,
        "name": user.name,
        "firstName": user.first_name if known else first,
        "lastName": user.last_name if known else rest,
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
        "termsAgreed": user.terms_agreed_at is not None,
        "privacyAgreed": user.privacy_agreed_at is not None,
        "marketingAgreed": user.marketing_agreed,
        "createdAt": user.created_at,
        "updatedAt": user.updated_at,
        "subscription": None,
    }


class Total(TypedDict):
    """A sum over the customer's completed purchases: of all time, and of the last thirty days."""

    total: Decimal
    monthly: Decimal
    count: int
    monthly_count: int


def completed_total(user: User, column: str, *, now: datetime | None = None) -> Total:
    """Dollars of `column` ("round_up" or "fee"), over the customer's own rows: the index has them together."""
    lately = Q(date__gte=(now or timezone.now()) - timedelta(days=30))
    found = Transaction.objects.filter(user=user, status=Transaction.Status.COMPLETED).aggregate(
        total=Coalesce(Sum(column), ZERO),
        monthly=Coalesce(Sum(column, filter=lately), ZERO),
        count=Count("pk"),
        monthly_count=Count("pk", filter=lately),
    )
    return {
        "total": found["total"],
        "monthly": found["monthly"],
        "count": found["count"],
        "monthly_count": found["monthly_count"],
    }


class GoalRow(TypedDict):
    """A goal; `progress` in percent, at most 100."""

    id: int
    user_id: int
    title: str
    target_amount: Decimal
    current_amount: Decimal
    progress: Decimal
    goal_type: str
    created_at: datetime


def goals(user: User) -> list[GoalRow]:
    """The customer's goals, newest first."""
    return [goal_row(goal) for goal in Goal.objects.filter(user=user).order_by("-id")]


def goal_row(goal: Goal) -> GoalRow:
    """One goal in the shape of the front ends."""
    return {
        "id": goal.pk,
        "user_id": goal.user_id,
        "title": goal.title,
        "target_amount": goal.target_amount,
        "current_amount": goal.current_amount,
        "progress": min(Decimal(100), _percent(goal.current_amount, goal.target_amount)),
        "goal_type": goal.goal_type,
        "created_at": goal.created_at,
    }


class StatementRow(TypedDict):
    """A month of a customer, to be downloaded from `url`."""

    id: str
    type: str
    period: str
    date: date
    size: str | None
    format: str
    url: str
    created_at: datetime


MONTHS: Final = 24
"""How many months the list of statements goes back."""


def statements(user: User, *, export_url: str, now: datetime | None = None) -> list[StatementRow]:
    """The months from the customer's first transaction on, newest first; each is a download of `export_url`.

    Two steps into the index, whatever the number of transactions. Size is not known before it is written.
    """
    own = transactions_of(user).values_list("date", flat=True)
    first, last = own.order_by("date").first(), own.order_by("-date").first()
    if first is None or last is None:
        return []
    months: list[StatementRow] = []
    today = (now or timezone.now()).astimezone(UTC).date()
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

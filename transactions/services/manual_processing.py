"""Transactions that staff want processed now: looked up in the directory at once, bought in the background.

What a member of staff may send to the market at once is limited in orders and dollars, by settings; the number of orders is
never lifted, the dollars are for whoever says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.db import connection, transaction

from transactions.models import BackgroundTask, Merchant, Transaction, User
from transactions.rules.money import ZERO, round_up_of
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import process_transaction_now, release_waiting_transactions
from transactions.services.settings import get_decimal_setting

Status = Transaction.Status
MAX_ORDERS = 500
MAX_AMOUNT = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be sent at once."""

    max_orders: int
    max_amount: Decimal


@dataclass(frozen=True, slots=True)
class SelectionStatus:
    """What the directory says of one transaction. `outcome` is mapped, no_match, closed or not_found."""

    transaction_id: int
    merchant: str
    outcome: str
    ticker: str | None
    reason: str
    amount: Decimal


@dataclass(slots=True)
class SelectionResult:
    """What was looked up, and the task that goes on with it; `task` is None where a limit or nothing to do forbids it."""

    looks: list[SelectionStatus] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    limits: Limits = Limits(MAX_ORDERS, MAX_AMOUNT)
    exceeded: bool = False
    task: BackgroundTask | None = None

    def count(self, outcome: str) -> int:
        """How many came out this way."""
        return sum(look.outcome == outcome for look in self.looks)

    @property
    def amount(self) -> Decimal:
        """Dollars of round-ups that go to the market."""
        return sum((look.amount for look in self.looks if look.outcome == "mapped"), ZERO)


def limits() -> Limits:
    """The limits in force. Raises SettingError."""
    orders = get_decimal_setting("process_selected_max_orders", default=Decimal(MAX_ORDERS))
    return Limits(min(MAX_ORDERS, int(orders)), get_decimal_setting("process_selected_max_amount", default=MAX_AMOUNT))


def process_selection(*, transaction_ids: Sequence[int], force: bool, actor: User) -> SelectionResult:
    """Look these transactions up and send what is known on its way. `force` lifts the limit of dollars.

    Raises SettingError.
    """
    done = SelectionResult(limits=limits())
    wanted = list(dict.fromkeys(transaction_ids))
    done.looks = _looked_up(wanted)
    ready = [look for look in done.looks if look.outcome == "mapped"]
    if len(ready) > done.limits.max_orders:
        done.exceeded = True
        done.warnings.append(f"{len(ready)} orders; at most {done.limits.max_orders} at once.")
    if done.amount > done.limits.max_amount:
        done.exceeded = done.exceeded or not force
        done.warnings.append(f"${done.amount:,} to invest; at most ${done.limits.max_amount:,} at once.")
    if ready and not done.exceeded:
        with transaction.atomic():
            done.task = create_task(
                name="process_selected",
                user=actor,
                arguments={"transaction_ids": [look.transaction_id for look in ready]},
            )
            done.task.total = len(ready)
            done.task.save(update_fields=["total"])
            send_task(task=done.task)
    return done


def run_selection(
    *, transaction_ids: Sequence[int], on_progress: Callable[[int], None] | None = None
) -> dict[str, int]:
    """Release and process these transactions, one user bucket after the other. Returns how many stand where."""
    parked = Transaction.objects.filter(pk__in=transaction_ids, status=Status.NEEDS_REVIEW)
    keys = list(parked.values_list("merchant_key", flat=True).distinct())
    decided = Merchant.objects.filter(
        merchant_key__in=keys, status__in=[Merchant.Status.APPROVED, Merchant.Status.NOT_LISTED]
    )
    if settled := list(decided.values_list("merchant_key", flat=True)):
        release_waiting_transactions(merchant_keys=settled)
    for number, transaction_id in enumerate(transaction_ids, start=1):
        process_transaction_now(transaction_id=transaction_id)
        if on_progress and number % 20 == 0:
            on_progress(number)
    statuses: dict[str, int] = {}
    for status in Transaction.objects.filter(pk__in=transaction_ids).values_list("status", flat=True):
        statuses[status] = statuses.get(status, 0) + 1
    return statuses


_LOOK = """
    SELECT rows.id, rows.merchant, rows.amount, rows.status, rows.round_up, merchants.status, merchants.ticker,
           users.round_up_enabled, users.round_up_rule, users.round_up_amount, companies.is_listed
    FROM transactions AS rows
    JOIN users ON users.id = rows.user_id
    LEFT JOIN merchants ON merchants.merchant_key = rows.merchant_key
    LEFT JOIN companies ON companies.ticker = merchants.ticker
    WHERE rows.id = ANY (%s)
"""
_CLOSED = {
    Status.COMPLETED: "It is invested already.",
    Status.MAPPED: "Its order waits for the market to open.",
    Status.REFUNDED: "It is a refund: nothing is invested.",
    Status.NOT_LISTED: "There is nobody to invest in.",
    Status.FAILED: "It failed.",
}


def _looked_up(wanted: Sequence[int]) -> list[SelectionStatus]:
    with connection.cursor() as cursor:
        cursor.execute(_LOOK, [list(wanted)])
        found = {row[0]: _look(*row) for row in cursor.fetchall()}
    return [
        found.get(one) or SelectionStatus(one, "", "not_found", None, "There is no such transaction.", ZERO)
        for one in wanted
    ]


def _look(  # noqa: PLR0917  # the columns of the statement
    number: int,
    merchant: str,
    amount: Decimal,
    status: str,
    set_aside: Decimal,
    known: str | None,
    ticker: str | None,
    enabled: bool,
    rule: str,
    flat: int,
    listed: bool | None,
) -> SelectionStatus:
    if status in _CLOSED:
        return SelectionStatus(number, merchant, "closed", None, _CLOSED[Status(status)], ZERO)
    if known == Merchant.Status.NOT_LISTED:
        return SelectionStatus(number, merchant, "mapped", None, "There is nobody to invest in; it is closed.", ZERO)
    if known != Merchant.Status.APPROVED or not listed:
        return SelectionStatus(number, merchant, "no_match", None, "The merchant waits for a decision.", ZERO)
    money = set_aside or round_up_of(amount, enabled=enabled, rule=rule, flat=flat)
    return SelectionStatus(number, merchant, "mapped", ticker, "", money)

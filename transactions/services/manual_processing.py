"""Transactions that staff want processed now: checked against the directory at once, bought in the background.

Two settings limit what staff may send to the market at once. The limit on orders always applies; the limit on dollars
can be overridden.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from django.db import connection, transaction

from transactions import live_settings
from transactions.errors import NothingToProcessError, NothingToRetryError, TransactionNotFoundError
from transactions.models import BackgroundTask, Merchant, Transaction, TransactionKey, User
from transactions.rules.money import CENT, ZERO, round_up_of
from transactions.selectors.customer import waiting_transaction_ids
from transactions.services.background_tasks import create_task, send_task
from transactions.services.processing import process_transaction_now, release_waiting_transactions

Status = Transaction.Status


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be sent to the market at once: orders, and dollars."""

    max_orders: int
    max_amount: Decimal


@dataclass(frozen=True, slots=True)
class SelectionStatus:
    """The state of one transaction in the directory. `outcome` is mapped, no_match, closed or not_found."""

    transaction_id: int
    merchant: str
    outcome: str
    ticker: str | None
    reason: str
    amount: Decimal


@dataclass(slots=True)
class SelectionResult:
    """The status of each transaction, and the task that processes them; None if a limit or lack of work prevents it."""

    limits: Limits
    statuses: list[SelectionStatus] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    exceeded: bool = False
    task: BackgroundTask | None = None

    def count(self, outcome: str) -> int:
        return sum(status.outcome == outcome for status in self.statuses)

    @property
    def amount(self) -> Decimal:
        """Return the dollars of round-ups that go to the market."""
        return sum((status.amount for status in self.statuses if status.outcome == "mapped"), ZERO)


def limits() -> Limits:
    """Return the current limits. Raises SettingError."""
    return Limits(live_settings.MAX_ORDERS.get(), live_settings.MAX_AMOUNT.get())


def process_selection(*, transaction_ids: Sequence[int], force: bool, actor: User) -> SelectionResult:
    """Check these transactions and start a task that processes the mapped ones. `force` overrides the limit on dollars.

    Raises SettingError.
    """
    result = SelectionResult(limits=limits())
    result.statuses = _check_transactions(list(dict.fromkeys(transaction_ids)))
    ready = [status for status in result.statuses if status.outcome == "mapped"]
    if len(ready) > result.limits.max_orders:
        result.exceeded = True
        result.warnings.append(f"{len(ready)} orders; at most {result.limits.max_orders} at once.")
    if result.amount > result.limits.max_amount:
        result.exceeded = result.exceeded or not force
        result.warnings.append(f"${result.amount:,} to invest; at most ${result.limits.max_amount:,} at once.")
    if ready and not result.exceeded:
        with transaction.atomic():
            result.task = create_task(
                name="process_selected",
                user=actor,
                arguments={"transaction_ids": [status.transaction_id for status in ready]},
            )
            result.task.total = len(ready)
            result.task.save(update_fields=["total"])
            send_task(task=result.task)
    return result


def process_one(*, transaction_id: int, actor: User) -> BackgroundTask:
    """Start the task that processes this transaction, within the limits.

    Raises SettingError, TransactionNotFoundError, NothingToProcessError with the reason.
    """
    result = process_selection(transaction_ids=[transaction_id], force=False, actor=actor)
    if result.count("not_found"):
        raise TransactionNotFoundError
    if result.task is None:
        raise NothingToProcessError(" ".join(result.warnings) or result.statuses[0].reason)
    return result.task


def retry_merchant(*, user: User, merchant: str) -> tuple[BackgroundTask, str | None]:
    """Process the customer's purchases that wait for this merchant. Returns the task and the ticker.

    Raises SettingError, and NothingToRetryError while the merchant is not decided.
    """
    result = process_selection(transaction_ids=waiting_transaction_ids(user, merchant), force=False, actor=user)
    if result.task is None:
        raise NothingToRetryError
    return result.task, next((found.ticker for found in result.statuses if found.ticker), None)


def run_selection(
    *, transaction_ids: Sequence[int], on_progress: Callable[[int], None] | None = None
) -> dict[str, int]:
    """Release and process these transactions, one user bucket after the other. Returns the count per final status."""
    parked = Transaction.objects.with_ids(*transaction_ids).filter(status=Status.NEEDS_REVIEW)
    keys = list(parked.values_list("merchant_key", flat=True).distinct())
    decided = Merchant.objects.filter(
        merchant_key__in=keys, status__in=[Merchant.Status.APPROVED, Merchant.Status.NOT_LISTED]
    )
    if decided_keys := list(decided.values_list("merchant_key", flat=True)):
        release_waiting_transactions(merchant_keys=decided_keys)
    for number, transaction_id in enumerate(transaction_ids, start=1):
        process_transaction_now(transaction_id=transaction_id)
        if on_progress and number % 20 == 0:
            on_progress(number)
    return Counter(Transaction.objects.with_ids(*transaction_ids).values_list("status", flat=True))


_CHECK = """
    SELECT rows.id, rows.merchant, rows.amount, rows.status, rows.round_up_cents, merchants.status, merchants.ticker,
           users.round_up_enabled, users.round_up_rule, users.round_up_amount, companies.is_listed
    FROM transactions AS rows
    JOIN users ON users.id = rows.user_id
    LEFT JOIN merchants ON merchants.merchant_key = rows.merchant_key
    LEFT JOIN companies ON companies.ticker = merchants.ticker
    WHERE rows.id = ANY (%s) AND rows.date = ANY (%s)
"""
_CLOSED = {
    Status.COMPLETED: "Already invested.",
    Status.MAPPED: "Its order waits for the market to open.",
    Status.REFUNDED: "A refund: nothing is invested.",
    Status.NOT_LISTED: "No listed company.",
    Status.FAILED: "Failed.",
    Status.EXCLUDED: "Not a purchase: nothing is invested.",
    Status.UNDONE: "Undone with its import.",
    Status.ON_HOLD: "On hold, see its reason: it is processed when the reason has passed.",
}


def _check_transactions(transaction_ids: Sequence[int]) -> list[SelectionStatus]:
    dates = TransactionKey.objects.filter(pk__in=transaction_ids).values_list("date", flat=True)
    with connection.cursor() as cursor:
        cursor.execute(_CHECK, [list(transaction_ids), list(dates)])
        statuses = {row[0]: _status_of(*row) for row in cursor.fetchall()}
    return [
        statuses.get(pk) or SelectionStatus(pk, "", "not_found", None, "There is no such transaction.", ZERO)
        for pk in transaction_ids
    ]


def _status_of(  # noqa: PLR0917  # the columns of the statement
    transaction_id: int,
    merchant: str,
    amount: Decimal,
    status: str,
    round_up_cents: int | None,
    merchant_status: str | None,
    ticker: str | None,
    enabled: bool,
    rule: str,
    flat: int,
    listed: bool | None,
) -> SelectionStatus:
    if status in _CLOSED:
        return SelectionStatus(transaction_id, merchant, "closed", None, _CLOSED[Status(status)], ZERO)
    if merchant_status == Merchant.Status.NOT_LISTED:
        reason = "No listed company: the transaction is closed."
        return SelectionStatus(transaction_id, merchant, "mapped", None, reason, ZERO)
    if merchant_status != Merchant.Status.APPROVED or not listed:
        reason = "The merchant waits for a decision."
        return SelectionStatus(transaction_id, merchant, "no_match", None, reason, ZERO)
    if round_up_cents is None:
        dollars = round_up_of(amount, enabled=enabled, rule=rule, flat=flat)
    else:
        dollars = round_up_cents * CENT
    return SelectionStatus(transaction_id, merchant, "mapped", ticker, "", dollars)

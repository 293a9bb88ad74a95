"""The ledger: chart of accounts, transfers, holdings, receivables.

One row of `ledger_transfers` is one balanced movement from the credit account to the debit account, so an unbalanced
entry cannot exist. A purchase makes three: `round_up` and `fee` (the customer owes us both) and `purchase` (the
round-up becomes shares from the house inventory; this row carries ticker and shares). A wrong booking is reversed by
contra entries: the same rows with the accounts exchanged and the kind `undo_…`. Later bookings of the same transaction
have the kinds `round_up_2`, `fee_2` and so on. `collection` pays what a customer owes; `broker_…` are the house's own
orders, one for each ticker.

`ledger_transfers` is partitioned by month on `date`, the day of booking (00:00 UTC), and unique on
(user, transaction, kind, date): a retry never books anything twice. Its database key is (date, id, user_id), the order
of the staff's list.

At all times `holdings` is the sum of the customers' rows that carry shares, `broker_positions` that of the house's, and
`receivables` that of the customers' rows of account 11100; `manage.py verify_ledger` checks all three.
"""

from decimal import Decimal
from typing import ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from kamioi_site.db.indexes import NamedIndex
from kamioi_site.db.partitions import MonthlyPartitionedModel


class LedgerAccount(models.Model):
    """An account of the chart of accounts."""

    class Type(models.TextChoices):
        ASSET = "asset"
        LIABILITY = "liability"
        EQUITY = "equity"
        REVENUE = "revenue"
        EXPENSE = "expense"

    number = models.CharField(max_length=10, primary_key=True)
    name = models.CharField(max_length=100)
    type = models.CharField(max_length=10, choices=Type)

    class Meta:
        db_table = "ledger_accounts"
        ordering = ["number"]
        constraints = [
            models.CheckConstraint(
                condition=Q(type__in=["asset", "liability", "equity", "revenue", "expense"]),
                name="ledger_accounts_type_known",
            )
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


class Account(models.TextChoices):
    """The accounts that Kamioi itself posts to, with the numbers of the legacy system where it had them."""

    BANK = "10100", "Bank"
    BROKER_CASH = "10200", "Cash at broker"
    RECEIVABLE = "11100", "Receivable from customers"
    BROKER_SECURITIES = "12100", "Securities at broker"
    ACCUMULATED_AMORTIZATION = "15100", "Accumulated amortization"
    LLM_DATA_ASSETS = "15200", "LLM data assets"
    CUSTOMER_FUNDS = "20100", "Customer funds"
    CUSTOMER_SECURITIES = "22100", "Securities owed to customers"
    OPENING = "30900", "Opening balances"
    PLATFORM_FEES = "40100", "Platform fees"
    DISPOSAL_GAIN = "40200", "Gain on disposal of assets"
    AMORTIZATION_EXPENSE = "67010", "Amortization expense"
    IMPAIRMENT = "67020", "Impairment of LLM data assets"
    DISPOSAL_LOSS = "67030", "Loss on disposal of assets"
    EXECUTION_DIFFERENCE = "67040", "Execution difference"
    CORRECTIONS = "67050", "Corrections"


# The kinds of nearly all rows: three per purchase.
USUAL_KINDS = ("round_up", "fee", "purchase")
USUAL_ACCOUNTS = (Account.RECEIVABLE, Account.CUSTOMER_FUNDS, Account.CUSTOMER_SECURITIES, Account.PLATFORM_FEES)
# Only the kinds below that name them are posted to these accounts, never a journal entry.
CUSTOMER_ACCOUNTS = (Account.RECEIVABLE, Account.BROKER_SECURITIES, Account.CUSTOMER_FUNDS, Account.CUSTOMER_SECURITIES)
# Entries of staff, on any other accounts. `journal` is the legacy system's journal, with its accounts.
JOURNAL_KINDS = ("journal_entry", "journal_reverse")

# A transaction is booked at most this often: once, and again after each reversal.
MAX_BOOKINGS = 5
BOOKING_SUFFIXES = ("", *(f"_{number}" for number in range(2, MAX_BOOKINGS + 1)))

# kind → (debit, credit). The constraint ledger_transfers_posting_rule rejects everything else. Rows from before the
# account 11100 existed are exempt: their kinds round_up and fee debit 10100.
POSTING_RULES: dict[str, tuple[tuple[Account, Account], ...]] = {
    "round_up": ((Account.RECEIVABLE, Account.CUSTOMER_FUNDS),),
    "fee": ((Account.RECEIVABLE, Account.PLATFORM_FEES),),
    "purchase": ((Account.CUSTOMER_FUNDS, Account.CUSTOMER_SECURITIES),),
    "opening": ((Account.OPENING, Account.CUSTOMER_SECURITIES),),
    # What old bookings took from the bank is owed by the customer: an entry for each, made by a migration.
    "uncollected": ((Account.RECEIVABLE, Account.BANK),),
    "collection": ((Account.BANK, Account.RECEIVABLE),),
    "returned": ((Account.RECEIVABLE, Account.BANK),),
    "broker_cash": ((Account.BROKER_CASH, Account.BANK), (Account.BANK, Account.BROKER_CASH)),
    # An order at what it cost, and the difference to the amount owed to customers, so that 12100 equals 22100.
    "broker_buy": ((Account.BROKER_SECURITIES, Account.BROKER_CASH),),
    "broker_sell": ((Account.BROKER_CASH, Account.BROKER_SECURITIES),),
    "broker_diff": (
        (Account.EXECUTION_DIFFERENCE, Account.BROKER_SECURITIES),
        (Account.BROKER_SECURITIES, Account.EXECUTION_DIFFERENCE),
    ),
    # Shares that customers give back after a wrong mapping, from their cost to the price of the day.
    "correction": ((Account.CORRECTIONS, Account.BROKER_SECURITIES), (Account.BROKER_SECURITIES, Account.CORRECTIONS)),
    # Against the contra account, or against the assets themselves, as in the legacy system.
    "amortization": (
        (Account.AMORTIZATION_EXPENSE, Account.ACCUMULATED_AMORTIZATION),
        (Account.AMORTIZATION_EXPENSE, Account.LLM_DATA_ASSETS),
    ),
    "amort_reversal": (
        (Account.ACCUMULATED_AMORTIZATION, Account.AMORTIZATION_EXPENSE),
        (Account.LLM_DATA_ASSETS, Account.AMORTIZATION_EXPENSE),
    ),
    "capitalize": ((Account.LLM_DATA_ASSETS, Account.BANK),),
    "impairment": ((Account.IMPAIRMENT, Account.ACCUMULATED_AMORTIZATION),),
    "disposal": (
        (Account.ACCUMULATED_AMORTIZATION, Account.LLM_DATA_ASSETS),
        (Account.BANK, Account.LLM_DATA_ASSETS),
        (Account.DISPOSAL_LOSS, Account.LLM_DATA_ASSETS),
        (Account.LLM_DATA_ASSETS, Account.DISPOSAL_GAIN),
    ),
}
for _kind in USUAL_KINDS:
    for _suffix in BOOKING_SUFFIXES:
        _pairs = POSTING_RULES[_kind]
        POSTING_RULES[_kind + _suffix] = _pairs
        POSTING_RULES[f"undo_{_kind}{_suffix}"] = tuple((credit, debit) for debit, credit in _pairs)

# Kinds that carry a ticker and shares, which come in with a debit of 12100 or a credit of 22100.
SHARE_KINDS = (
    "purchase",
    "opening",
    "broker_buy",
    "broker_sell",
    "broker_diff",
    "correction",
    *sorted(kind for kind in POSTING_RULES if "purchase" in kind and kind != "purchase"),
)


def _posting_rule() -> Q:
    """Return the condition that a posting is on the list.

    The usual kinds come first, because PostgreSQL stops at the first match, on every booking.
    """
    kinds = dict[tuple[Account, Account], list[str]]()
    for kind, pairs in POSTING_RULES.items():
        for pair in pairs:
            kinds.setdefault(pair, []).append(kind)
    allowed = Q()
    for (debit, credit), posted in kinds.items():
        allowed |= Q(kind__in=posted, debit_account=debit.value, credit_account=credit.value)
    customers = [account.value for account in CUSTOMER_ACCOUNTS]
    return (
        allowed
        | Q(~Q(debit_account__in=customers), ~Q(credit_account__in=customers), kind__in=JOURNAL_KINDS)
        | Q(kind="journal")
    )


class LedgerTransfer(MonthlyPartitionedModel):
    """One balanced movement of money, and of shares where it carries a ticker."""

    partition_column: ClassVar[str] = "date"

    user_id = models.BigIntegerField(default=0, help_text="0 for the company's own entries.")
    date = models.DateTimeField(help_text="The day of booking.")
    transaction_id = models.BigIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=16)
    debit_account = models.CharField(max_length=10)
    credit_account = models.CharField(max_length=10)
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    ticker = models.CharField(max_length=12, null=True, blank=True)
    shares = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    reference = models.CharField(max_length=100, blank=True, default="")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "ledger_transfers"
        indexes = [
            # The ledger by day without the usual kinds, which are nearly all rows.
            NamedIndex(
                fields=["-date", "-id"], name="idx_ledger_transfers_unusual", condition=~Q(kind__in=USUAL_KINDS)
            ),
            # The rows of a day to be sealed, and ranges of ids; tiny, because rows are stored in this order.
            BrinIndex(fields=["created_at", "id"], name="idx_ledger_transfers_stored", autosummarize=True),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["user_id", "transaction_id", "kind", "date"], name="ledger_transfers_booked_once"
            ),
            models.CheckConstraint(condition=Q(amount__gt=0), name="ledger_transfers_amount_positive"),
            models.CheckConstraint(
                condition=~Q(debit_account=F("credit_account")), name="ledger_transfers_two_accounts"
            ),
            models.CheckConstraint(condition=_posting_rule(), name="ledger_transfers_posting_rule"),
            models.CheckConstraint(
                condition=Q(kind__in=SHARE_KINDS, ticker__isnull=False, shares__isnull=False, shares__gte=0)
                | (~Q(kind__in=SHARE_KINDS) & Q(ticker__isnull=True, shares__isnull=True)),
                name="ledger_transfers_shares_with_purchase",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind.replace('_', ' ')} ${self.amount:,}"


class Holding(models.Model):
    """A customer's shares of one company: the sum of the ledger, updated in the same transaction."""

    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, db_index=False, related_name="holdings")
    ticker = models.CharField(max_length=12)
    shares = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0))
    cost_basis = models.DecimalField(max_digits=14, decimal_places=2, default=Decimal(0))
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "holdings"
        constraints = [
            models.UniqueConstraint(fields=["user", "ticker"], name="holdings_one_per_ticker"),
            models.CheckConstraint(condition=Q(shares__gte=0, cost_basis__gte=0), name="holdings_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.ticker} {self.shares}"


class Receivable(models.Model):
    """What a customer owes: the sum of the customer's rows of account 11100, updated in the same transaction.

    Bookings and collections write different rows, so that neither waits for the other.
    """

    class Part(models.TextChoices):
        BOOKED = "booked", "booked by purchases"
        COLLECTED = "collected"

    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, db_index=False, related_name="receivables")
    part = models.CharField(max_length=10, choices=Part)
    amount = models.DecimalField(max_digits=14, decimal_places=2, help_text="Negative what was collected.")
    month = models.DateField(null=True, help_text="The month of the last booking.")
    month_amount = models.DecimalField(
        max_digits=14, decimal_places=2, default=Decimal(0), help_text="Booked in that month, in dollars."
    )

    class Meta:
        db_table = "receivables"
        constraints = [
            models.UniqueConstraint(fields=["user", "part"], name="receivables_one_per_part"),
            models.CheckConstraint(condition=Q(part__in=["booked", "collected"]), name="receivables_part_known"),
        ]

    def __str__(self) -> str:
        return f"{self.part} ${self.amount:,}"


class BrokerPosition(models.Model):
    """The house's shares of one company at the broker: the sum of its orders, updated in the same transaction."""

    ticker = models.CharField(max_length=12, primary_key=True)
    shares = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(0))
    cost_basis = models.DecimalField(
        max_digits=14, decimal_places=2, default=Decimal(0), help_text="At the amounts owed to customers, in dollars."
    )
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "broker_positions"
        constraints = [models.CheckConstraint(condition=Q(shares__gte=0), name="broker_positions_not_negative")]

    def __str__(self) -> str:
        return f"{self.ticker} {self.shares}"

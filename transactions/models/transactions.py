"""Card transactions and the keys that make their ingestion idempotent.

`transactions` is partitioned by month on `date`. Its database key is (user_id, date, id), which also serves the list
of a customer; Django sees `id`. A reference to a transaction is therefore its id together with the user and the date,
which `transaction_keys` has, never a foreign key.

A transaction goes `pending → mapped → completed`, or waits (`needs_review`, `awaiting_price`, `on_hold`), or ends as
`not_listed`, `excluded` (not a purchase), `failed` or `refunded`. When its import is undone, it is `undone` if it was
ever booked and deleted otherwise. Only services of this app move it.
"""

from decimal import Decimal
from typing import ClassVar, Self

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod
from django.utils import timezone

from kamioi_site.db.indexes import NamedIndex
from kamioi_site.db.partitions import MonthlyPartitionedModel
from transactions.models.ledger import MAX_BOOKINGS

# Workers claim user buckets, so two workers never process the same user.
USER_BUCKETS = 64


class LimitReason(models.TextChoices):
    """The limit that a purchase on hold would exceed, stored as its `failure_reason`. An index contains these texts."""

    DAY = "The limit for the purchases of one day is reached."
    MONTH = "The monthly limit is reached."
    OWED = "The limit on the balance owed is reached."


class TransactionQuerySet(models.QuerySet["Transaction"]):
    """Transactions, found by id."""

    def with_ids(self, *ids: int) -> Self:
        """Filter by the whole key of these transactions; `filter(pk=…)` would scan every partition."""
        keys = list(TransactionKey.objects.using(self.db).filter(pk__in=ids).values_list("user_id", "date"))
        return self.filter(pk__in=ids, user_id__in={user for user, _ in keys}, date__in={date for _, date in keys})

    def possible_duplicates(self) -> Self:
        """Filter by what waits for a decision; an index has these rows by customer, newest first."""
        return self.filter(status="on_hold", related_id__isnull=False, failure_reason=Transaction.HoldReason.DUPLICATE)


class Transaction(MonthlyPartitionedModel):
    """A card purchase (amount > 0) or refund (amount < 0) and its outcome."""

    partition_column: ClassVar[str] = "date"

    class Status(models.TextChoices):
        PENDING = "pending", "pending"
        MAPPED = "mapped", "awaiting market open"
        COMPLETED = "completed"
        NEEDS_REVIEW = "needs_review", "awaiting review"
        NOT_LISTED = "not_listed", "no listed company"
        AWAITING_PRICE = "awaiting_price", "awaiting price"
        ON_HOLD = "on_hold", "on hold"
        EXCLUDED = "excluded", "not a purchase"
        FAILED = "failed"
        REFUNDED = "refunded", "refund, nothing invested"
        UNDONE = "undone", "undone with its import"

    class RowClass(models.TextChoices):
        """What the bank's file says a row is; see `transactions.statements.row_classes`."""

        PURCHASE = "", "purchase or refund"
        TRANSFER = "transfer", "transfer"
        CARD_PAYMENT = "card_payment", "card payment"
        INVESTMENT = "investment", "broker or savings"
        LOAN = "loan", "loan payment"
        TAX = "tax", "tax"
        RENT = "rent", "rent"
        DEPOSIT = "deposit", "deposit"
        INTEREST = "interest", "interest"
        FEE = "fee", "fee"
        CASH = "cash", "cash"
        DUPLICATE = "duplicate", "same purchase as another"
        WITHDRAWN = "withdrawn", "deleted by the bank"

    class HoldReason(models.TextChoices):
        """Why a purchase is on hold, stored as its `failure_reason`; or a `LimitReason`."""

        SUSPENDED = "The account is suspended."
        UNVERIFIED = "The e-mail address is not verified."
        DUPLICATE = "Possible duplicate: another source has the same purchase."

    class Priority(models.IntegerChoices):
        """Lower values are processed first."""

        CUSTOMER = 0, "a customer's own purchase"
        RELEASE = 3, "released by a reviewer"
        CORRECTION = 4, "booked again by a correction"
        BULK = 9, "bulk"

    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, db_index=False, related_name="transactions")
    date = models.DateTimeField()
    merchant = models.CharField(max_length=255)
    merchant_key = models.CharField(max_length=120)
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    category = models.CharField(max_length=100, blank=True, default="")
    description = models.CharField(max_length=500, blank=True, default="")
    investable = models.DecimalField(max_digits=14, decimal_places=2, default=Decimal(0))
    round_up = models.DecimalField("round-up", max_digits=14, decimal_places=2, default=Decimal(0))
    fee = models.DecimalField(max_digits=14, decimal_places=2, default=Decimal(0))
    total_debit = models.DecimalField(max_digits=14, decimal_places=2)
    ticker = models.CharField(max_length=12, null=True, blank=True)
    shares = models.DecimalField(max_digits=20, decimal_places=8, null=True, blank=True)
    price_per_share = models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True)
    status = models.CharField(max_length=16, choices=Status, default=Status.PENDING)
    row_class = models.CharField(
        "class", max_length=16, blank=True, default=RowClass.PURCHASE, db_default="", choices=RowClass
    )
    failure_reason = models.CharField(max_length=255, blank=True, default="")
    transaction_type = models.CharField(max_length=20, default="bank")
    source = models.CharField(max_length=20, default="api")
    # No index: an import knows the first and last day of its rows, and the rows of a user and a day are found by one.
    statement_id = models.BigIntegerField("import", null=True, blank=True, help_text="The import that stored this row.")
    related_id = models.BigIntegerField(
        "related purchase",
        null=True,
        blank=True,
        help_text="The purchase that this row refunds or probably repeats; of a refunded purchase, its refund.",
    )
    bank_account_id = models.BigIntegerField("bank account", null=True, blank=True)
    bank_reference = models.BigIntegerField(null=True, blank=True, help_text="Digest of the bank's id of this row.")
    booking = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How often the booking has been reversed by contra entries."
    )
    # What the purchase sets aside and costs whenever it invests; two bytes each, because there are billions of rows.
    # NULL until the first processing if the row was not stored by ingestion.
    round_up_cents = models.SmallIntegerField(
        null=True, blank=True, help_text="The round-up in cents, fixed when the purchase is stored."
    )
    fee_cents = models.SmallIntegerField(
        null=True, blank=True, help_text="The fee in cents, fixed when the purchase is stored."
    )
    decision_id = models.BigIntegerField(
        "decision", null=True, blank=True, help_text="The decision on the merchant by which this row was settled."
    )
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.CUSTOMER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TransactionQuerySet.as_manager()

    class Meta:
        db_table = "transactions"
        indexes = [
            # A range of ids, in the legacy migration; tiny, because rows are stored in this order.
            BrinIndex(fields=["id"], name="idx_transactions_id", autosummarize=True),
            # Staff lists by status or ticker between two days; a list by days alone goes through the statuses.
            NamedIndex(fields=["status", "-date", "-id"], name="idx_transactions_status"),
            NamedIndex(
                fields=["ticker", "-date", "-id"], name="idx_transactions_ticker", condition=Q(ticker__isnull=False)
            ),
            NamedIndex(
                fields=["id"],
                name="idx_transactions_pending_ticker",
                condition=Q(status="pending", ticker__isnull=False),
            ),
            # The claim of `process_transactions`: pending rows of one user bucket, most urgent first.
            NamedIndex(
                Mod(F("user_id"), USER_BUCKETS),
                "priority",
                "id",
                name="idx_transactions_work",
                condition=Q(status="pending"),
            ),
            # The release of a merchant, and the count of its waiting transactions.
            NamedIndex(
                fields=["merchant_key", "id"], name="idx_transactions_waiting", condition=Q(status="needs_review")
            ),
            # What a decision settled, which undoing it reverses; the purchases of a merchant.
            NamedIndex(
                fields=["merchant_key", "decision_id"],
                name="idx_transactions_decided",
                condition=Q(status__in=["completed", "mapped", "awaiting_price", "not_listed"]),
            ),
            NamedIndex(fields=["ticker", "id"], name="idx_transactions_no_price", condition=Q(status="awaiting_price")),
            # What exceeds a limit, which the sweep looks at again.
            NamedIndex(
                fields=["user", "date", "id"],
                name="idx_transactions_over_limit",
                condition=Q(status="on_hold", failure_reason__in=LimitReason.values),
            ),
            # Possible duplicates, which wait for a person.
            NamedIndex(
                fields=["user", "-date", "-id"],
                name="idx_transactions_duplicates",
                condition=Q(status="on_hold", related_id__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "pending",
                        "mapped",
                        "completed",
                        "needs_review",
                        "not_listed",
                        "awaiting_price",
                        "on_hold",
                        "excluded",
                        "failed",
                        "refunded",
                        "undone",
                    ]
                ),
                name="transactions_status_known",
            ),
            models.CheckConstraint(condition=~Q(amount=0) | Q(source="legacy"), name="transactions_amount_not_zero"),
            models.CheckConstraint(condition=Q(booking__lt=MAX_BOOKINGS), name="transactions_booking_in_bounds"),
            models.CheckConstraint(
                condition=Q(round_up__gte=0, fee__gte=0, investable__gte=0), name="transactions_parts_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(source="legacy") | Q(total_debit=F("amount") + F("round_up") + F("fee")),
                name="transactions_total_debit_adds_up",
            ),
            models.CheckConstraint(
                condition=~Q(status="completed")
                | Q(source="legacy")
                | Q(investable=0)
                | Q(ticker__isnull=False, shares__gte=0, price_per_share__gt=0),
                name="transactions_completed_is_bought",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0) | Q(source="legacy") | Q(investable=0, round_up=0, fee=0),
                name="transactions_refund_invests_nothing",
            ),
            models.CheckConstraint(
                condition=~Q(status="completed")
                | Q(investable=0)
                | Q(round_up_cents=F("round_up") * 100, fee_cents=F("fee") * 100),
                name="transactions_booked_as_stored",  # true for rows from before, whose cents are NULL
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | ~Q(failure_reason="") | Q(source="legacy"),
                name="transactions_failed_has_reason",
            ),
            models.CheckConstraint(
                condition=~Q(status="on_hold") | ~Q(failure_reason=""), name="transactions_on_hold_has_reason"
            ),
            models.CheckConstraint(
                condition=~Q(status__in=["excluded", "undone"]) | Q(investable=0, round_up=0, fee=0),
                name="transactions_excluded_invests_nothing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.merchant} ${self.amount:,}"


class PossibleDuplicate(Transaction):
    """A transaction on hold, because another source has probably the same purchase: `related_id`."""

    class Meta:
        proxy = True
        verbose_name = "possible duplicate"


class UnmatchedRefund(models.Model):
    """A refund without a purchase: none came before it, only a part was refunded, or the match is still to be made."""

    transaction_id = models.BigIntegerField(primary_key=True)
    user = models.ForeignKey(
        "transactions.User", on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    date = models.DateTimeField()
    merchant_key = models.CharField(max_length=120)
    amount = models.DecimalField(max_digits=14, decimal_places=2)
    is_checked = models.BooleanField(
        default=False, db_default=False, help_text="False until matched again: it is new, or a purchase came later."
    )

    class Meta:
        db_table = "unmatched_refunds"
        verbose_name = "refund without purchase"
        verbose_name_plural = "refunds without purchase"
        indexes = [
            models.Index(fields=["user", "merchant_key"], name="idx_unmatched_refunds_user"),
            models.Index(fields=["user"], name="idx_unmatched_refunds_open", condition=Q(is_checked=False)),
        ]
        constraints = [models.CheckConstraint(condition=Q(amount__lt=0), name="unmatched_refunds_amount_negative")]

    def __str__(self) -> str:
        return f"{self.merchant_key} ${self.amount:,}"


class TransactionDelta(models.Model):
    """The change that one write makes to a day's totals: rows and dollars per (day, status, ticker), of either sign.

    Written by the statement that writes the transactions; consumed by `analytics.services.rollups`. `writes` is the
    number of rows that the statement wrote, by which uncounted writes are detected.
    """

    day = models.DateField()
    status = models.CharField(max_length=16)
    ticker = models.CharField(max_length=12, null=True)
    rows = models.IntegerField()
    amount = models.DecimalField(max_digits=18, decimal_places=2)
    round_up = models.DecimalField("round-up", max_digits=18, decimal_places=2)
    fee = models.DecimalField(max_digits=18, decimal_places=2)
    investable = models.DecimalField(max_digits=18, decimal_places=2)
    user = models.ForeignKey(
        "transactions.User",
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="+",
        help_text="The user whose rows these are, if they are new.",
    )
    writes = models.IntegerField()

    class Meta:
        db_table = "transaction_deltas"

    def __str__(self) -> str:
        return f"{self.day} {self.status} {self.rows:+d}"


class TransactionKey(models.Model):
    """(user, idempotency key) → transaction: a purchase that is sent twice is stored once, in any month.

    Each transaction has a row, which knows the date of an id, and so its partition.
    """

    transaction_id = models.BigIntegerField(primary_key=True)
    user = models.ForeignKey("transactions.User", on_delete=models.PROTECT, db_constraint=False, db_index=False)
    idempotency_key = models.CharField(max_length=128, null=True, help_text="None for a row of the legacy system.")
    date = models.DateTimeField()
    fingerprint = models.UUIDField(null=True, help_text="Hash of the API request with this key.")

    class Meta:
        db_table = "transaction_keys"
        constraints = [
            models.UniqueConstraint(fields=["user", "idempotency_key"], name="transaction_keys_once_per_user")
        ]

    def __str__(self) -> str:
        return self.idempotency_key or str(self.transaction_id)

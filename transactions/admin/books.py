"""Admin pages of the ledger, the journal and holdings."""

from typing import Any

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from kamioi_site.admin.display import ReversalMixin, StatusMixin
from kamioi_site.admin.history import HistoryAdmin, NoDeleteMixin
from kamioi_site.admin.keyset import DayRangeFilter
from kamioi_site.formatting import EMPTY
from transactions.models import (
    BrokerOrder,
    BrokerPosition,
    Collection,
    Holding,
    JournalDraft,
    JournalEntry,
    LedgerAccount,
    LedgerSeal,
    LedgerTransfer,
    Receivable,
    User,
)
from transactions.models.ledger import POSTING_RULES, USUAL_ACCOUNTS, USUAL_KINDS


@admin.register(LedgerAccount)
class LedgerAccountAdmin(NoDeleteMixin, ModelAdmin):
    """The chart of accounts; postings refer to its numbers."""

    list_display = ("number", "name", "type")
    search_fields = ("number", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("number", "type") if obj else ()


class AccountFilter(admin.SimpleListFilter):
    """Transfers that debit or credit an account."""

    title = "account"
    parameter_name = "account__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(account.number, str(account)) for account in LedgerAccount.objects.all()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LedgerTransfer]) -> QuerySet[LedgerTransfer]:
        number = self.value()
        if not number:
            return queryset
        if number not in USUAL_ACCOUNTS:
            # Every purchase touches few accounts; the kinds that touch others have a partial index.
            queryset = queryset.exclude(kind__in=USUAL_KINDS)
        elif (pairs := POSTING_RULES.get(request.GET.get("kind__exact", ""))) and number not in {*sum(pairs, ())}:
            return queryset.none()  # no index would find that there are none
        return queryset.filter(Q(debit_account=number) | Q(credit_account=number))


@admin.register(LedgerTransfer)
class LedgerTransferAdmin(HistoryAdmin):
    keyset = ("-date", "-id")
    list_display = (
        "id",
        "date",
        "customer",
        "kind",
        "debit_account",
        "credit_account",
        "amount",
        "ticker",
        "shares",
        "reference",
    )
    list_filter = (AccountFilter, ("date", DayRangeFilter))
    list_filter_submit = True

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return ("customer", *(name for name in super().get_fields(request, obj) if name != "user_id"))

    def prepare_page(self, rows: list[Any]) -> None:
        # The ledger outlives users, so it has no foreign key to them.
        emails = dict(User.objects.filter(pk__in={row.user_id for row in rows}).values_list("pk", "email"))
        for row in rows:
            row.customer_email = emails.get(row.user_id)

    @display(description="Customer")
    def customer(self, row: Any) -> str:
        if not hasattr(row, "customer_email"):  # the page of one transfer
            self.prepare_page([row])
        return row.customer_email or (f"#{row.user_id}" if row.user_id else EMPTY)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        if lookup == "transaction_id__exact":  # served only by the index that starts with the user
            return request is not None and bool({"user_id__exact", "user_id"} & request.GET.keys())
        return lookup in {"user_id__exact", "user_id", "kind__exact", "account__exact", "date_from", "date_to"}


@admin.register(JournalDraft)
class JournalDraftAdmin(HistoryAdmin):
    """Entries that are not posted; they are written through the API."""

    keyset = ("-entry_date", "-id")
    list_display = ("number", "entry_date", "description", "amount", "created_by", "changed_by")
    list_select_related = ("created_by", "changed_by")


@admin.register(JournalEntry)
class JournalEntryAdmin(StatusMixin, ReversalMixin, HistoryAdmin):
    """Manual entries of the company's own books; they are posted through the API."""

    keyset = ("-entry_date", "-id")
    list_display = ("number", "entry_date", "description", "amount", "status_label", "created_by", "posted_by")
    list_select_related = ("created_by", "posted_by", "reversal")
    readonly_fields = ("reversed_at", "reversed_by")


@admin.register(Holding)
class HoldingAdmin(HistoryAdmin):
    list_display = ("id", "user", "ticker", "shares", "cost_basis", "updated_at")
    list_select_related = ("user",)


@admin.register(Receivable)
class ReceivableAdmin(HistoryAdmin):
    """What customers owe: booked by purchases, and collected."""

    list_display = ("id", "user", "part", "amount", "month", "month_amount")
    list_select_related = ("user",)


@admin.register(BrokerPosition)
class BrokerPositionAdmin(HistoryAdmin):
    """The house's shares at the broker; they equal what customers own once `settle_positions` has run."""

    keyset = ("ticker",)
    list_display = ("ticker", "shares", "cost_basis", "updated_at")


@admin.register(LedgerSeal)
class LedgerSealAdmin(HistoryAdmin):
    """The sealed days of the ledger and the audit trail."""

    keyset = ("-day",)
    list_display = ("day", "rows", "events", "chain", "sealed_at")


@admin.register(BrokerOrder)
class BrokerOrderAdmin(HistoryAdmin):
    """Filled orders of the house; `settle_positions` places one for each ticker that differs."""

    list_display = ("id", "filled_at", "ticker", "side", "shares", "price", "amount")


@admin.register(Collection)
class CollectionAdmin(HistoryAdmin):
    """What `collect_round_ups` collected; the rows of the customers are in the ledger."""

    list_display = ("id", "day", "customers", "amount", "returned", "collected_at")

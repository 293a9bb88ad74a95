"""Admin pages of purchases and orders."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import display

from kamioi_site.admin.display import StatusMixin
from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.keyset import DayRangeFilter, active_filters
from kamioi_site.admin.pages import staff_user
from kamioi_site.formatting import EMPTY, moment, money, plural
from transactions.models import Order, PossibleDuplicate, Transaction, TransactionKey, UnmatchedRefund, User
from transactions.models.transactions import TransactionQuerySet
from transactions.selectors.possible_duplicates import COUNT_LIMIT, attach_counterparts, count_possible_duplicates
from transactions.selectors.transaction_pages import NO_PURCHASE
from transactions.services.possible_duplicates import Decision, decide_possible_duplicates
from transactions.services.processing import reclassify_transactions


@admin.register(Transaction)
class TransactionAdmin(StatusMixin, HistoryAdmin):
    list_display = (
        "id",
        "date",
        "user",
        "merchant",
        "amount",
        "round_up",
        "ticker",
        "shares",
        "status_label",
        "row_class",
        "refund",
        "source",
    )
    list_select_related = ("user",)
    list_filter = ("status", ("date", DayRangeFilter))
    list_filter_submit = True
    search_fields = ("user__email__iexact", "merchant_key__exact")
    actions = ("treat_as_purchases", "exclude_transfers", "exclude_duplicates")
    search_help_text = "The customer's full e-mail, a transaction number, or a merchant in the review queue"

    @display(description="Refund")
    def refund(self, row: Transaction) -> str:
        if row.amount < 0 and row.status == Transaction.Status.REFUNDED:
            return f"of {row.related_id}" if row.related_id else NO_PURCHASE
        is_refunded = row.related_id and row.status != Transaction.Status.ON_HOLD and not row.row_class
        return f"refunded by {row.related_id}" if is_refunded else EMPTY

    def get_queryset(self, request: HttpRequest) -> TransactionQuerySet:
        rows = super().get_queryset(request)
        if "merchant_key__exact" in active_filters(request):
            # The index on the merchant covers only transactions that await its review.
            rows = rows.filter(status=Transaction.Status.NEEDS_REVIEW)
        return rows

    def has_reclassify_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("transactions.change_transaction")

    @admin.action(description="Treat as purchases", permissions=["reclassify"])
    def treat_as_purchases(self, request: HttpRequest, rows: TransactionQuerySet) -> None:
        self._reclassify(request, rows, Transaction.RowClass.PURCHASE)

    @admin.action(description="Exclude: transfers, not purchases", permissions=["reclassify"])
    def exclude_transfers(self, request: HttpRequest, rows: TransactionQuerySet) -> None:
        self._reclassify(request, rows, Transaction.RowClass.TRANSFER)

    @admin.action(description="Exclude: same purchase as another", permissions=["reclassify"])
    def exclude_duplicates(self, request: HttpRequest, rows: TransactionQuerySet) -> None:
        self._reclassify(request, rows, Transaction.RowClass.DUPLICATE)

    def _reclassify(self, request: HttpRequest, rows: TransactionQuerySet, row_class: str) -> None:
        ids = list(rows.values_list("pk", flat=True))
        changed = reclassify_transactions(transaction_ids=ids, row_class=row_class, actor=staff_user(request))
        messages.success(request, f"{plural(changed, 'transaction')} changed.")
        if changed < len(ids):
            messages.warning(request, f"{len(ids) - changed} left as they are: awaiting review, or already decided.")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Transaction | None:
        """Return the transaction, read from its partition."""
        known = object_id.isascii() and object_id.isdigit() and int(object_id) < 2**63
        return self.get_queryset(request).with_ids(int(object_id)).first() if known else None

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        """Order by date, but the waiting purchases of a merchant by id, as their index has them."""
        filters = active_filters(request)
        by_merchant = "merchant_key__exact" in filters or ("q" in filters and "@" not in request.GET["q"])
        return ("-id",) if by_merchant else ("-date", "-id")

    def get_branches(self, request: HttpRequest) -> tuple[Q, ...]:
        """Split a list without a filter, or by days alone, by status, because the index is on (status, date).

        Another index that starts with the date would take 1 GB a month.
        """
        others = {"user__id__exact", "status__exact", "ticker__exact", "merchant_key__exact", "q"}
        if others & active_filters(request):
            return ()
        return tuple(Q(status=status) for status in Transaction.Status.values)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        links = {"user__id__exact", "merchant_key__exact", "ticker__exact"}
        return lookup in links | {"status__exact", "date_from", "date_to"}

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Search by the customer's e-mail, the id, or the merchant key; an index serves each."""
        term = search_term.strip()
        if not term:
            return queryset, False
        user = User.objects.with_email(term).values_list("pk", flat=True).first()
        if user is not None:
            return queryset.filter(user_id=user), False
        if term.isascii() and term.isdigit():
            return queryset.with_ids(int(term)) if int(term) < 2**63 else queryset.none(), False
        return queryset.filter(merchant_key=term.upper(), status=Transaction.Status.NEEDS_REVIEW), False


@admin.register(PossibleDuplicate)
class PossibleDuplicateAdmin(HistoryAdmin):
    """Purchases that two sources have, side by side. A decision is final for the customer; staff may take it back."""

    list_display = ("id", "user", "held", "other", "other_status")
    list_select_related = ("user",)
    # Grouped by customer, as the index has them.
    keyset = ("user_id", "-date", "-id")
    actions = ("keep_both", "same_purchase")
    search_fields = ("user__email__iexact",)
    search_help_text = "The customer's full e-mail"
    list_before_template = "admin/transactions/possible_duplicates.html"

    def get_queryset(self, request: HttpRequest) -> TransactionQuerySet:
        return super().get_queryset(request).possible_duplicates()

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("transactions.change_possibleduplicate")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        if not search_term.strip():
            return queryset, False
        user = User.objects.with_email(search_term.strip()).values_list("pk", flat=True).first()
        return queryset.filter(user_id=user or 0), False

    def prepare_page(self, rows: list[PossibleDuplicate]) -> None:
        attach_counterparts(rows)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        waiting, customers = count_possible_duplicates()
        capped = waiting > COUNT_LIMIT
        text = f"More than {COUNT_LIMIT:,} purchases wait" if capped else f"{plural(waiting, 'purchase')} of "
        summary = f"{text}." if capped else f"{text}{plural(customers, 'customer')} wait for a decision."
        return super().changelist_view(request, (extra_context or {}) | {"summary": summary})

    @admin.display(description="Held purchase")
    def held(self, row: PossibleDuplicate) -> str:
        return _purchase(row)

    @admin.display(description="Probably the same as")
    def other(self, row: PossibleDuplicate) -> str:
        other = row.counterpart  # type: ignore[attr-defined]  # attached
        return _purchase(other) if other else f"{row.related_id}, which does not exist any more"

    @admin.display(description="Its status")
    def other_status(self, row: PossibleDuplicate) -> str:
        return row.counterpart.get_status_display() if row.counterpart else ""  # type: ignore[attr-defined]

    @admin.action(description="Keep both: these are purchases of their own", permissions=["decide"])
    def keep_both(self, request: HttpRequest, rows: TransactionQuerySet) -> None:
        self._decide(request, rows, "keep")

    @admin.action(description="Same purchase: exclude the held one", permissions=["decide"])
    def same_purchase(self, request: HttpRequest, rows: TransactionQuerySet) -> None:
        self._decide(request, rows, "same")

    def _decide(self, request: HttpRequest, rows: TransactionQuerySet, decision: Decision) -> None:
        ids = list(rows.values_list("pk", flat=True))
        changed = decide_possible_duplicates(transaction_ids=ids, decision=decision, actor=staff_user(request))
        done = "processed as purchases of their own" if decision == "keep" else "excluded as the same purchase"
        messages.success(request, f"{plural(changed, 'transaction')} {done}.")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Transaction | None:
        """Return the transaction, read from its partition."""
        known = object_id.isascii() and object_id.isdigit() and int(object_id) < 2**63
        return self.get_queryset(request).with_ids(int(object_id)).first() if known else None


def _purchase(row: Transaction) -> str:
    """Return day, merchant and amount, linked to the transaction, and where it comes from."""
    return format_html(
        '<a class="kamioi-link" href="{}">{} · {} · {}</a><br><span class="kamioi-muted">from {}</span>',
        reverse("admin:transactions_transaction_change", args=[row.pk]),
        moment(row.date),
        row.merchant,
        money(row.amount),
        row.origin,  # type: ignore[attr-defined]  # attached
    )


@admin.register(UnmatchedRefund)
class UnmatchedRefundAdmin(HistoryAdmin):
    """Refunds to which no purchase belongs: none that came before has the same merchant and amount."""

    list_display = ("transaction_id", "user", "date", "merchant_key", "amount")
    keyset = ("-transaction_id",)
    list_select_related = ("user",)


@admin.register(TransactionKey)
class TransactionKeyAdmin(HistoryAdmin):
    """Keys that make the ingest of purchases idempotent."""

    list_display = ("transaction_id", "user", "idempotency_key", "date")
    keyset = ("-transaction_id",)
    list_select_related = ("user",)


@admin.register(Order)
class OrderAdmin(StatusMixin, HistoryAdmin):
    """Share purchases placed while the market was closed."""

    list_display = ("id", "user", "ticker", "amount", "status_label", "execute_after", "executed_at", "shares", "price")
    list_select_related = ("user",)
    list_filter = ("status",)

"""Admin pages of the LLM Center: the review queue, the log of proposals, decisions, data assets."""

from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin
from unfold.decorators import display

from kamioi_site.admin import HistoryAdmin, KeysetChangeList
from kamioi_site.errors import KamioiError
from llm_center.errors import MerchantChanged
from llm_center.models import AmortizationEntry, LlmDataAsset, LlmMapping, MappingDecision, ReviewMerchant
from llm_center.services.review import WAITING, Action, merchant_decide, merchant_effect, queue_totals
from transactions.admin import StatusMixin, staff_of
from transactions.models import BackgroundTask, Company, StockPrice

# Release tasks shown above the queue.
RECENT_RELEASES = 5


@admin.register(ReviewMerchant)
class ReviewMerchantAdmin(HistoryAdmin):
    """Merchants that wait for a decision, where it is worth most first."""

    keyset = ("-review_priority", "id")
    list_display = ("merchant_key", "waiting_count", "waiting_amount")
    list_per_page = 25
    change_list_template = "admin/llm_center/review_queue.html"
    search_fields = ("merchant_key",)
    search_help_text = "Beginning of the merchant"

    def get_queryset(self, request: HttpRequest) -> Any:
        """What waits."""
        return super().get_queryset(request).filter(status__in=WAITING)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """By the beginning of the key."""
        term = search_term.strip().upper()
        return (queryset.filter(merchant_key__startswith=term) if term else queryset), False

    def get_urls(self) -> list[URLPattern]:
        """Decisions, and the type-ahead of tickers."""
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/decide/<str:action>/", view(self.decide_view), name="llm_center_reviewmerchant_decide"),
            path("companies/", view(self.companies_view), name="llm_center_reviewmerchant_companies"),
            *super().get_urls(),
        ]

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Who may decide."""
        return request.user.has_perm("llm_center.change_reviewmerchant")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The queue with its evidence, and what is being released."""
        reply = super().changelist_view(request, extra_context)
        changelist = getattr(reply, "context_data", {}).get("cl")
        if not isinstance(changelist, KeysetChangeList):
            return reply
        merchants, count, amount = queue_totals()
        reply.context_data |= {
            "title": "Review queue",
            "totals": {"merchants": merchants, "transactions": count, "amount": amount},
            "rows": _evidence(changelist.result_list),
            "releases": BackgroundTask.objects.filter(name="release_merchants").order_by("-created_at")[
                :RECENT_RELEASES
            ],
            "may_decide": self.has_decide_permission(request),
        }
        return reply

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """One merchant is looked at in the directory."""
        return redirect("admin:transactions_merchant_change", object_id)

    def decide_view(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Say what the decision will do; on POST make it.

        A script shows this page's form in a dialogue; without one it is a page.
        """
        if not self.has_decide_permission(request):
            raise PermissionDenied
        if action not in Action.values:
            return HttpResponse("There is no such decision.", status=404)
        merchant = get_object_or_404(ReviewMerchant, pk=pk)
        chosen, ticker = Action(action), request.POST.get("ticker") or request.GET.get("ticker") or ""
        context: dict[str, Any] = {
            **self.admin_site.each_context(request), "title": f"{chosen.label.capitalize()}: {merchant.merchant_key}",
            "opts": self.opts, "merchant": merchant, "action": chosen, "ticker": ticker,
            "seen": merchant.updated_at.isoformat(),
        }  # fmt: skip
        if request.method == "POST":
            try:
                decided = merchant_decide(
                    merchant_id=pk,
                    action=chosen,
                    by=staff_of(request),
                    ticker=ticker,
                    seen=_moment(request.POST.get("seen", "")),
                    reason=request.POST.get("reason", ""),
                )
            except KamioiError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, _told(decided.decision))
            return redirect("admin:llm_center_reviewmerchant_changelist")
        try:
            if chosen != Action.CORRECT or ticker:
                context["effect"] = merchant_effect(merchant=merchant, action=chosen, ticker=ticker)
        except KamioiError as error:
            context["refused"] = str(error)
        return TemplateResponse(request, "admin/llm_center/decide.html", context)

    def companies_view(self, request: HttpRequest) -> JsonResponse:
        """Listed companies whose ticker or name begins or contains what is typed; tickers first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        term = request.GET.get("q", "").strip()[:40]
        found: list[Company] = []
        if term:
            listed = Company.objects.filter(is_listed=True)
            found = list(listed.filter(ticker__istartswith=term).order_by("ticker")[:8])
            found += list(
                listed.filter(name__icontains=term).exclude(pk__in=[row.pk for row in found]).order_by("name")[:8]
            )
        return JsonResponse(
            {"companies": [{"ticker": row.ticker, "name": row.name, "exchange": row.exchange} for row in found[:10]]}
        )


def _moment(text: str) -> datetime:
    """The state of the merchant that the form showed.

    Raises:
        MerchantChanged: the form does not say.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise MerchantChanged from None


def _told(decision: MappingDecision) -> str:
    """The decision in a sentence."""
    count = f"{decision.released_count:,} transaction{'' if decision.released_count == 1 else 's'}"
    return {
        Action.APPROVE: f"{decision.merchant_key} is {decision.after['ticker']}: {count} go to work.",
        Action.CORRECT: f"{decision.merchant_key} is {decision.after['ticker']}: {count} go to work.",
        Action.NOT_LISTED: f"{decision.merchant_key} is not listed: {count} are being closed.",
        Action.REJECT: f"{decision.before['ticker']} was rejected for {decision.merchant_key}; it goes on waiting.",
    }[Action(decision.action)]


def _evidence(merchants: list[Any]) -> list[dict[str, Any]]:
    """What a reviewer needs to see of each merchant: two queries for the whole page."""
    tickers = {row.ticker for row in merchants if row.ticker}
    companies = Company.objects.in_bulk(list(tickers), field_name="ticker")
    prices = {
        price.ticker: price
        for price in StockPrice.objects.filter(ticker__in=tickers).order_by("ticker", "-as_of").distinct("ticker")
    }
    return [
        {
            "merchant": row,
            "company": companies.get(row.ticker or ""),
            "price": prices.get(row.ticker or ""),
            "percent": int((row.confidence or 0) * 100),
        }
        for row in merchants
    ]


@admin.register(LlmMapping)
class LlmMappingAdmin(StatusMixin, HistoryAdmin):
    """Every proposal and what was decided about it."""

    list_display = (
        "id", "created_at", "merchant_name", "ticker", "confidence_percent", "status_label", "source", "ai_model_version",
        "decided_by",
    )  # fmt: skip
    list_select_related = ("decided_by",)
    list_filter = ("status",)
    search_fields = ("merchant_name",)
    search_help_text = "The whole name of the merchant, as the statement wrote it"

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        """Newest first; the index on (status, created_at) serves one status."""
        return ("-created_at", "-id") if "status__exact" in request.GET else ("-id",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The index serves whole names."""
        term = search_term.strip()
        return (queryset.filter(merchant_name=term) if term else queryset), False

    @display(description="Confidence")
    def confidence_percent(self, row: LlmMapping) -> str:
        """Percent."""
        return f"{row.confidence * 100:.0f} %"


@admin.register(MappingDecision)
class MappingDecisionAdmin(HistoryAdmin):
    """Who decided what, and why."""

    list_display = ("id", "decided_at", "merchant_key", "action_label", "became", "who", "released_count", "reason")
    list_select_related = ("decided_by",)
    search_fields = ("merchant_key",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """One merchant."""
        term = search_term.strip().upper()
        return (queryset.filter(merchant_key=term) if term else queryset), False

    @display(
        description="Decision",
        label={"approve": "success", "correct": "info", "not_listed": "warning", "reject": "danger"},
    )
    def action_label(self, row: MappingDecision) -> tuple[str, str]:
        """In words."""
        return row.action, row.get_action_display()

    @display(description="Became")
    def became(self, row: MappingDecision) -> str:
        """The ticker before and after."""
        return f"{row.before.get('ticker') or '–'} → {row.after.get('ticker') or '–'}"

    @display(description="By")
    def who(self, row: MappingDecision) -> str:
        """A person, or the system."""
        return "automatic" if row.automatic else str(row.decided_by)


@admin.register(LlmDataAsset)
class LlmDataAssetAdmin(ModelAdmin):
    """Models and data sets in the books."""

    list_display = (
        "asset_name", "asset_type", "status", "cost_basis", "current_value", "useful_life_months", "in_service_on",
    )  # fmt: skip


@admin.register(AmortizationEntry)
class AmortizationEntryAdmin(HistoryAdmin):
    """Monthly charges."""

    list_display = ("id", "asset", "period", "amount", "created_at")
    list_select_related = ("asset",)

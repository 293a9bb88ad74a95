"""Admin pages of the LLM Center: the review queue, the log of proposals, decisions, data assets."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from import_export import resources
from import_export.admin import ImportExportModelAdmin
from import_export.widgets import Widget
from unfold.admin import ModelAdmin
from unfold.contrib.import_export.forms import ExportForm, ImportForm
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from kamioi_site.admin import HistoryAdmin, KeysetAdmin, KeysetChangeList
from kamioi_site.errors import KamioiError
from llm_center.errors import MerchantChanged
from llm_center.models import (
    AmortizationEntry,
    CatalogueBrand,
    LlmCall,
    LlmDataAsset,
    LlmMapping,
    MappingDecision,
    PendingDecision,
    ProposalClaim,
    ReviewMerchant,
)
from llm_center.providers import llm_spent_this_month
from llm_center.selectors import companies_found, review_evidence
from llm_center.services.brands import brand_check
from llm_center.services.review import (
    WAITING,
    Action,
    QueueFilter,
    bulk_effect,
    bulk_request,
    decision_undo,
    decisions_undoable,
    merchant_decide,
    merchant_effect,
    queue_totals,
    undo_effect,
)
from transactions.admin import StatusMixin, staff_of
from transactions.models import BackgroundTask

# What a reviewer can decide about one merchant.
DECISIONS = {Action.APPROVE, Action.CORRECT, Action.NOT_LISTED, Action.REJECT}
# Background work shown above the queue.
QUEUE_TASKS = ("release_merchants", "undo_decision", "decide_merchants")
RECENT_TASKS = 5


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
        return super().get_queryset(request).filter(status__in=WAITING).select_related("pending_decision__requested_by")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """By the beginning of the key."""
        term = search_term.strip().upper()
        return (queryset.filter(merchant_key__startswith=term) if term else queryset), False

    def get_urls(self) -> list[URLPattern]:
        """Decisions one by one and many at once, undo, and the type-ahead of tickers."""
        view, name = self.admin_site.admin_view, "llm_center_reviewmerchant"
        return [
            path("<int:pk>/decide/<str:action>/", view(self.decide_view), name=f"{name}_decide"),
            path("bulk/", view(self.bulk_view), name=f"{name}_bulk"),
            path("undo/<int:pk>/", view(self.undo_view), name=f"{name}_undo"),
            path("companies/", view(self.companies_view), name=f"{name}_companies"),
            *super().get_urls(),
        ]

    def has_decide_permission(self, request: HttpRequest) -> bool:
        """Who may decide."""
        return request.user.has_perm("llm_center.change_reviewmerchant")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """The queue with its evidence, what is being released, and what can be undone."""
        reply = super().changelist_view(request, extra_context)
        changelist = getattr(reply, "context_data", {}).get("cl")
        if not isinstance(changelist, KeysetChangeList):
            return reply
        merchants, count, amount = queue_totals()
        reply.context_data |= {
            "title": "Review queue",
            "totals": {"merchants": merchants, "transactions": count, "amount": amount},
            "rows": review_evidence(changelist.result_list),
            "work": BackgroundTask.objects.filter(name__in=QUEUE_TASKS).order_by("-created_at")[:RECENT_TASKS],
            "undoable": decisions_undoable(by=staff_of(request))[:3],
            "may_decide": self.has_decide_permission(request),
        }
        return reply

    def change_view(self, request: HttpRequest, object_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """One merchant is looked at in the directory."""
        return redirect("admin:transactions_merchant_change", object_id)

    def _page(self, request: HttpRequest, title: str, **context: Any) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts, **context}

    def decide_view(self, request: HttpRequest, pk: int, action: str) -> HttpResponse:
        """Say what the decision will do; on POST make it.

        A script shows this page's form in a dialogue; without one it is a page.
        """
        if not self.has_decide_permission(request):
            raise PermissionDenied
        if action not in DECISIONS:
            return HttpResponse("There is no such decision.", status=404)
        merchant = get_object_or_404(ReviewMerchant, pk=pk)
        chosen, ticker = Action(action), request.POST.get("ticker") or request.GET.get("ticker") or ""
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
                if decided.decision:
                    messages.success(request, _told(decided.decision))
                else:
                    messages.info(
                        request,
                        f"{merchant.merchant_key} releases so much money that another reviewer has to decide the same.",
                    )
            return redirect("admin:llm_center_reviewmerchant_changelist")
        context = self._page(
            request, f"{chosen.label.capitalize()}: {merchant.merchant_key}", merchant=merchant, action=chosen,
            ticker=ticker, seen=merchant.updated_at.isoformat(),
        )  # fmt: skip
        try:
            if chosen != Action.CORRECT or ticker:
                context["effect"] = merchant_effect(merchant=merchant, action=chosen, ticker=ticker)
        except KamioiError as error:
            context["refused"] = str(error)
        return TemplateResponse(request, "admin/llm_center/decide.html", context)

    def bulk_view(self, request: HttpRequest) -> HttpResponse:
        """Decide all that fit a filter: first what it would do, then, on POST, in the background."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        data = request.POST if request.method == "POST" else request.GET
        form = BulkForm(data if "action" in data else None)
        context = self._page(request, "Decide many merchants", form=form)
        if form.is_valid():
            chosen, action = form.filter(), Action(form.cleaned_data["action"])
            try:
                if request.method == "POST":
                    task = bulk_request(
                        chosen=chosen, action=action, by=staff_of(request), until=_moment(data.get("until", ""))
                    )
                    messages.success(request, f"{task.total:,} merchants are being decided.")
                    return redirect("admin:llm_center_reviewmerchant_changelist")
                context |= {
                    "effect": bulk_effect(chosen=chosen, action=action),
                    "until": timezone.now().isoformat(),
                    "action": action,
                }
            except KamioiError as error:
                form.add_error(None, str(error))
        return TemplateResponse(request, "admin/llm_center/bulk.html", context)

    def undo_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say what undoing a decision takes back; on POST do it."""
        if not self.has_decide_permission(request):
            raise PermissionDenied
        decision = get_object_or_404(MappingDecision, pk=pk)
        if request.method == "POST":
            try:
                decision_undo(decision_id=pk, by=staff_of(request), reason=request.POST.get("reason", ""))
            except KamioiError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, f"The decision on {decision.merchant_key} is undone.")
            return redirect("admin:llm_center_reviewmerchant_changelist")
        context = self._page(
            request, f"Undo: {decision.merchant_key}", decision=decision, effect=undo_effect(decision=decision)
        )
        return TemplateResponse(request, "admin/llm_center/undo.html", context)

    def companies_view(self, request: HttpRequest) -> JsonResponse:
        """Listed companies whose ticker or name begins or contains what is typed; tickers first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return JsonResponse({"companies": companies_found(request.GET.get("q", ""))})


class BulkForm(forms.Form):
    """Which merchants, and what becomes of them."""

    starts = forms.CharField(
        label="Merchant begins with", required=False, max_length=120, widget=UnfoldAdminTextInputWidget
    )
    ticker = forms.CharField(label="Proposed ticker", required=False, max_length=12, widget=UnfoldAdminTextInputWidget)
    confidence = forms.IntegerField(
        label="Confidence at least, in percent", required=False, min_value=0, max_value=100,
        widget=UnfoldAdminIntegerFieldWidget,
    )  # fmt: skip
    action = forms.ChoiceField(
        label="Decision", choices=[("approve", "approve the proposals"), ("not_listed", "not listed")],
        widget=UnfoldAdminSelectWidget,
    )  # fmt: skip

    def filter(self) -> QueueFilter:
        """The part of the queue."""
        data = self.cleaned_data
        return QueueFilter(data["starts"], data["ticker"], Decimal(data["confidence"] or 0) / 100)


def _moment(text: str) -> datetime:
    """The state that the form showed.

    Raises:
        MerchantChanged: the form does not say.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MerchantChanged from None
    if moment.tzinfo is None:
        raise MerchantChanged
    return moment


def _told(decision: MappingDecision) -> str:
    """The decision in a sentence."""
    count = f"{decision.released_count:,} transaction{'' if decision.released_count == 1 else 's'}"
    goes = "goes" if decision.released_count == 1 else "go"
    return {
        Action.APPROVE: f"{decision.merchant_key} is {decision.after['ticker']}: {count} {goes} to work.",
        Action.CORRECT: f"{decision.merchant_key} is {decision.after['ticker']}: {count} {goes} to work.",
        Action.NOT_LISTED: f"{decision.merchant_key} is not listed: {count} closed.",
        Action.REJECT: f"{decision.before['ticker']} was rejected for {decision.merchant_key}; it goes on waiting.",
    }[Action(decision.action)]


@admin.register(PendingDecision)
class PendingDecisionAdmin(HistoryAdmin):
    """Decisions that wait for a second reviewer."""

    list_display = ("id", "merchant", "action", "ticker", "requested_by", "requested_at", "reason")
    list_select_related = ("merchant", "requested_by")


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
        label={"approve": "success", "correct": "info", "not_listed": "warning", "reject": "danger", "undo": "default"},
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


class BarsWidget(Widget):
    """A list of texts, separated by bars."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> list[str]:
        """The texts."""
        return [part.strip() for part in str(value or "").split("|") if part.strip()]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        """One cell."""
        return "|".join(value or [])


class BrandResource(resources.ModelResource):
    """The catalogue as a file: aliases separated by bars, as in the shipped data."""

    aliases = resources.Field(column_name="aliases", attribute="aliases", widget=BarsWidget())

    class Meta:
        model = CatalogueBrand
        import_id_fields = ("name",)
        fields = ("name", "aliases", "owner", "ticker", "reason", "category", "source")
        skip_unchanged = True
        report_skipped = False
        use_bulk = False

    def after_init_instance(self, instance: CatalogueBrand, new: bool, row: Any, **kwargs: Any) -> None:
        """What a person imports is an edit."""
        instance.edited = True

    def before_save_instance(self, instance: CatalogueBrand, row: Any, **kwargs: Any) -> None:
        """A row that cannot be is refused with its reason; nothing of the file is stored then."""
        instance.edited = True
        brand_check(instance)


@admin.register(CatalogueBrand)
class CatalogueBrandAdmin(KeysetAdmin, ImportExportModelAdmin):
    """Who owns a brand. What is edited here survives the next release's data, and the matcher uses it within minutes."""

    resource_classes = [BrandResource]
    import_form_class = ImportForm
    export_form_class = ExportForm
    keyset = ("name",)
    list_display = ("name", "owner", "ticker", "reason", "category", "edited", "updated_at")
    list_filter = ("reason", "edited")
    search_fields = ("name", "ticker")
    search_help_text = "Part of the name, or the ticker"
    readonly_fields = ("edited", "updated_at")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The catalogue is small: a part of the name will do."""
        term = search_term.strip()
        return (queryset.filter(Q(name__icontains=term) | Q(ticker=term.upper())) if term else queryset), False

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """A form that knows what the database cannot check."""
        return super().get_form(request, obj, change, form=CatalogueBrandForm, **kwargs)

    def save_model(self, request: HttpRequest, obj: CatalogueBrand, form: Any, change: bool) -> None:
        """Remember that a person wrote it."""
        obj.edited = True
        super().save_model(request, obj, form, change)


class CatalogueBrandForm(forms.ModelForm):
    """A brand."""

    def clean(self) -> dict[str, Any]:
        """A ticker that is listed, or a reason."""
        data = super().clean() or {}
        if not self.errors:
            brand_check(
                CatalogueBrand(
                    **{name: data.get(name, "") for name in ("ticker", "reason")}, aliases=data.get("aliases") or []
                )
            )
            data["ticker"] = data.get("ticker", "").strip().upper()
        return data


@admin.register(LlmCall)
class LlmCallAdmin(HistoryAdmin):
    """What asking a model took and cost, call by call."""

    list_display = (
        "id", "started_at", "provider", "model", "merchants", "prompt_tokens", "completion_tokens", "cost", "duration_ms",
        "retries", "error",
    )  # fmt: skip
    list_before_template = "admin/llm_center/calls_summary.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With what this month has cost."""
        return super().changelist_view(request, (extra_context or {}) | {"spent": llm_spent_this_month()})


@admin.register(ProposalClaim)
class ProposalClaimAdmin(HistoryAdmin):
    """Merchants that a worker is asking about just now."""

    keyset = ("-merchant_id",)
    list_display = ("merchant", "claimed_at")
    list_select_related = ("merchant",)

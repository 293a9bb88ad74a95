"""Admin pages of the LLM Center: the review queue, the log of proposals, decisions, data assets."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db.models import OuterRef, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from import_export import resources
from import_export.admin import ImportExportModelAdmin
from import_export.widgets import Widget
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.import_export.forms import ExportForm, ImportForm
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from kamioi_site.admin.keyset import DayRangeFilter, HistoryAdmin, KeysetAdmin, KeysetChangeList
from kamioi_site.errors import KamioiError
from kamioi_site.http.downloads import csv_download, csv_line, live_figures, rows_in_pages
from llm_center.admin_charts import CHART_OPTIONS, chart
from llm_center.errors import MerchantChangedError
from llm_center.mapping_file import preview_mappings
from llm_center.models import (
    AmortizationEntry,
    AssetEvent,
    CalibrationFit,
    CatalogueBrand,
    LlmCall,
    LlmDataAsset,
    LlmMapping,
    MappingDecision,
    MappingImport,
    MappingImportKey,
    MappingImportReject,
    PendingDecision,
    ProposalClaim,
    ReviewMerchant,
)
from llm_center.providers import llm_spent_this_month
from llm_center.selectors import review_evidence, search_companies
from llm_center.services.amortization import (
    add_asset_cost,
    amortize_month,
    asset_schedule,
    carrying_value,
    dispose_asset,
    impair_asset,
    reverse_entry,
)
from llm_center.services.brands import validate_brand
from llm_center.services.learning_stats import get_learning_stats
from llm_center.services.mapping_imports import mapping_rejects_csv, upload_mapping_file
from llm_center.services.proposal_queue import auto_approval_threshold
from llm_center.services.review.bulk import bulk_effect, request_bulk_decision
from llm_center.services.review.decisions import Action, decide_merchant, merchant_effect
from llm_center.services.review.queue import WAITING_STATUSES, QueueFilter, queue_totals, queue_totals_cached
from llm_center.services.review.undo import request_undo, undo_effect, undoable_decisions
from transactions.admin import (
    PREVIEW_SECONDS,
    PREVIEWS,
    STATUS_LABELS,
    StatusMixin,
    delete_expired_previews,
    staff_user,
)
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
        return (
            super()
            .get_queryset(request)
            .filter(status__in=WAITING_STATUSES)
            .select_related("pending_decision__requested_by")
        )

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
            path("live/", view(self.live_view), name=f"{name}_live"),
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
            "undoable": undoable_decisions(actor=staff_user(request))[:3],
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
                decided = decide_merchant(
                    merchant_id=pk,
                    action=chosen,
                    actor=staff_user(request),
                    ticker=ticker,
                    expected_updated_at=_moment(request.POST.get("seen", "")),
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
            request,
            f"{chosen.label.capitalize()}: {merchant.merchant_key}",
            merchant=merchant,
            action=chosen,
            ticker=ticker,
            seen=merchant.updated_at.isoformat(),
        )
        if merchant.status not in WAITING_STATUSES and merchant.decided_at:
            who = merchant.decided_by.email if merchant.decided_by else "The system"
            context["decided"] = (
                f"{who} decided this at {merchant.decided_at:%Y-%m-%d %H:%M} UTC: {merchant.get_status_display()}"
                f"{', ' + merchant.ticker if merchant.ticker else ''}. Deciding again replaces that."
            )
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
                    task = request_bulk_decision(
                        queue_filter=chosen,
                        action=action,
                        actor=staff_user(request),
                        until=_moment(data.get("until", "")),
                    )
                    messages.success(request, f"{task.total:,} merchants are being decided.")
                    return redirect("admin:llm_center_reviewmerchant_changelist")
                context |= {
                    "effect": bulk_effect(queue_filter=chosen, action=action),
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
                request_undo(decision_id=pk, actor=staff_user(request), reason=request.POST.get("reason", ""))
            except KamioiError as error:
                messages.error(request, str(error))
            else:
                messages.success(request, f"The decision on {decision.merchant_key} is undone.")
            return redirect("admin:llm_center_reviewmerchant_changelist")
        context = self._page(
            request, f"Undo: {decision.merchant_key}", decision=decision, effect=undo_effect(decision=decision)
        )
        return TemplateResponse(request, "admin/llm_center/undo.html", context)

    def live_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """What waits, as it changes (server-sent events)."""
        if not self.has_view_permission(request):
            raise PermissionDenied

        def figures() -> dict[str, str]:
            merchants, count, amount = queue_totals_cached()
            return {"merchants": f"{merchants:,}", "transactions": f"{count:,}", "amount": f"{amount:,}"}

        return live_figures(request, figures)

    def companies_view(self, request: HttpRequest) -> JsonResponse:
        """Listed companies whose ticker or name begins or contains what is typed; tickers first."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return JsonResponse({"companies": search_companies(request.GET.get("q", ""))})


class BulkForm(forms.Form):
    """Which merchants, and what becomes of them."""

    starts = forms.CharField(
        label="Merchant begins with", required=False, max_length=120, widget=UnfoldAdminTextInputWidget
    )
    ticker = forms.CharField(label="Proposed ticker", required=False, max_length=12, widget=UnfoldAdminTextInputWidget)
    confidence = forms.IntegerField(
        label="Confidence at least, in percent",
        required=False,
        min_value=0,
        max_value=100,
        widget=UnfoldAdminIntegerFieldWidget,
    )
    action = forms.ChoiceField(
        label="Decision",
        choices=[("approve", "approve the proposals"), ("not_listed", "not listed")],
        widget=UnfoldAdminSelectWidget,
    )

    def filter(self) -> QueueFilter:
        """The part of the queue."""
        data = self.cleaned_data
        return QueueFilter(data["starts"], data["ticker"], Decimal(data["confidence"] or 0) / 100)


def _moment(text: str) -> datetime:
    """The state that the form showed.

    Raises:
        MerchantChangedError: the form does not say.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise MerchantChangedError from None
    if moment.tzinfo is None:
        raise MerchantChangedError
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
        "id",
        "created_at",
        "merchant_name",
        "ticker",
        "confidence_percent",
        "status_label",
        "source",
        "ai_model_version",
        "decided_by",
    )
    list_select_related = ("decided_by",)
    list_filter = ("status", ("created_at", DayRangeFilter))
    list_filter_submit = True
    search_fields = ("merchant_name",)
    search_help_text = "The whole name of the merchant, as the statement wrote it"

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        """Newest first; the index on (status, created_at) serves one status."""
        by_time = {"status__exact", "created_at_from", "created_at_to"} & request.GET.keys()
        return ("-created_at", "-id") if by_time else ("-id",)

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """The index serves whole names."""
        term = search_term.strip()
        return (queryset.filter(merchant_name=term) if term else queryset), False

    list_before_template = "admin/llm_center/mapping_export_link.html"

    def get_urls(self) -> list[URLPattern]:
        """The download of what the filter shows."""
        return [
            path("export/", self.admin_site.admin_view(self.export_view), name="llm_center_llmmapping_export"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """All rows of the filter, streamed; columns as an upload takes them."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return redirect("admin:llm_center_llmmapping_changelist")
        columns = "merchant_name", "category", "ticker", "company_name", "confidence", "status", "source", "created_at"

        def lines() -> Iterator[str]:
            yield csv_line(
                ["Merchant Name", "Category", "Ticker", "Company Name", "Confidence", "Status", "Source", "Created"]
            )
            for row in rows_in_pages(rows, columns, order=self.get_keyset(request)):
                *texts, confidence, status, source, created = row
                yield csv_line(
                    [
                        *(text or "" for text in texts),
                        f"{confidence * 100:.2f}",
                        status,
                        source,
                        f"{created:%Y-%m-%d %H:%M:%S}",
                    ]
                )

        return csv_download(request, lines(), filename="mappings.csv")

    @display(description="Confidence")
    def confidence_percent(self, row: LlmMapping) -> str:
        """Percent."""
        return f"{row.confidence * 100:.0f} %"


class MappingFileForm(forms.Form):
    """The file."""

    file = forms.FileField(
        label="Mappings",
        help_text="CSV with a header such as “Merchant Name,Category,Ticker,Company Name,Confidence”.",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,.txt,.tsv", "class": "kamioi-file"}),
    )
    # Unfold's script looks for a text field beside every file field.
    note = forms.CharField(
        required=False,
        max_length=200,
        help_text="Where the file comes from, if you like.",
        widget=UnfoldAdminTextInputWidget,
    )


@admin.register(MappingImport)
class MappingImportAdmin(HistoryAdmin):
    """Uploaded files of mappings. The form shows how a file is understood before anything is stored."""

    list_display = (
        "id",
        "filename",
        "status",
        "rows_done",
        "rows_added",
        "rows_rejected",
        "merchants_approved",
        "merchants_review",
        "merchants_kept",
        "created_at",
    )
    list_select_related = ("task",)
    fields = (
        "filename",
        "note",
        "size",
        "rows_done",
        "rows_added",
        "rows_rejected",
        "merchants_approved",
        "merchants_review",
        "merchants_kept",
        "created_at",
    )
    list_before_template = "admin/llm_center/mapping_upload_link.html"
    change_form_before_template = "admin/llm_center/mapping_progress.html"

    @display(description="Status", label=STATUS_LABELS)
    def status(self, row: MappingImport) -> tuple[str, str]:
        """Of the import's task."""
        return row.task.status, row.task.status

    def get_urls(self) -> list[URLPattern]:
        """The upload form and the download of what could not be read."""
        view = self.admin_site.admin_view
        return [
            path("upload/", view(self.upload_view), name="llm_center_mappingimport_upload"),
            path("<int:pk>/rejects.csv", view(self.rejects_view), name="llm_center_mappingimport_rejects"),
            *super().get_urls(),
        ]

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Choose a file, see how it is understood, import it."""
        if not request.user.has_perm("llm_center.add_mappingimport"):
            raise PermissionDenied
        if request.method == "POST" and "token" in request.POST:
            return self._upload_confirm(request)
        context = {**self.admin_site.each_context(request), "title": "Upload mappings", "opts": self.opts}
        form = MappingFileForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            upload = form.cleaned_data["file"]
            try:
                context["preview"] = preview_mappings(upload)
            except KamioiError as error:
                form.add_error("file", str(error))
            else:
                upload.seek(0)
                stored = default_storage.save(f"{PREVIEWS}/mappings", upload)
                delete_expired_previews()
                context["token"] = signing.dumps(
                    {"stored": stored, "name": upload.name, "note": form.cleaned_data["note"]}, salt=PREVIEWS
                )
                context["upload"] = upload
        context["form"] = form
        return TemplateResponse(request, "admin/llm_center/mapping_upload.html", context)

    def _upload_confirm(self, request: HttpRequest) -> HttpResponse:
        again = redirect("admin:llm_center_mappingimport_upload")
        try:
            known = signing.loads(request.POST["token"], salt=PREVIEWS, max_age=PREVIEW_SECONDS)
            with default_storage.open(known["stored"]) as file:
                imported = upload_mapping_file(
                    filename=known["name"], content=File(file), actor=staff_user(request), note=known["note"]
                )
        except (signing.BadSignature, FileNotFoundError):
            messages.error(request, "The preview is too old. Choose the file again.")
            return again
        except KamioiError as error:
            messages.error(request, str(error))
            return again
        default_storage.delete(known["stored"])
        messages.success(request, f"{imported.filename} is being imported.")
        return redirect("admin:llm_center_mappingimport_change", imported.pk)

    def rejects_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """The rows that could not be read, as CSV."""
        imported = get_object_or_404(self.get_queryset(request), pk=pk)
        return csv_download(request, mapping_rejects_csv(imported=imported), filename=f"mapping-rejects-{pk}.csv")


@admin.register(MappingImportReject)
class MappingImportRejectAdmin(HistoryAdmin):
    """Rows of mapping files that could not be imported."""

    list_display = ("mapping_import", "row_number", "field", "reason", "raw")
    list_select_related = ("mapping_import",)


@admin.register(MappingImportKey)
class MappingImportKeyAdmin(HistoryAdmin):
    """What files say that are being imported now."""

    list_display = ("id", "mapping_import", "merchant_key", "ticker", "count")
    list_select_related = ("mapping_import",)


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


class AssetEventInline(TabularInline):
    """What happened to the asset."""

    model = AssetEvent
    fields = readonly_fields = ("kind", "component", "amount", "dated_on", "note", "created_by", "created_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Events come from the buttons, which book them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What happened, happened."""
        return False


@admin.register(LlmDataAsset)
class LlmDataAssetAdmin(ModelAdmin):
    """Models and data sets in the books: their costs, their months, what they stand at."""

    list_display = (
        "asset_name",
        "asset_type",
        "status",
        "cost_basis",
        "carrying",
        "useful_life_months",
        "in_service_on",
    )
    list_before_template = "admin/llm_center/amortize_link.html"
    change_form_before_template = "admin/llm_center/asset_schedule.html"
    inlines = (AssetEventInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        """With what was written off."""
        written = (
            AmortizationEntry.objects.filter(asset=OuterRef("pk"), reversed_at=None)
            .values("asset")
            .annotate(total=Sum("amount"))
            .values("total")
        )
        impaired = (
            AssetEvent.objects.filter(asset=OuterRef("pk"), kind=AssetEvent.Kind.IMPAIRMENT)
            .values("asset")
            .annotate(total=Sum("amount"))
            .values("total")
        )
        zero = Value(Decimal("0.00"))
        return (
            super()
            .get_queryset(request)
            .annotate(written_off=Coalesce(Subquery(written), zero) + Coalesce(Subquery(impaired), zero))
        )

    @display(description="Carrying value")
    def carrying(self, asset: Any) -> Decimal:
        """Cost less what was written off."""
        disposed = asset.status == LlmDataAsset.Status.DISPOSED
        return Decimal("0.00") if disposed else Decimal(asset.cost_basis - asset.written_off)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The cost is a sum of events; what was disposed of stays as it is."""
        if obj is None:
            return ()
        if obj.status == LlmDataAsset.Status.DISPOSED:
            return [field.name for field in obj._meta.fields if field.editable and field.name != "id"]
        return ("cost_basis",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An asset of the books is disposed of, not deleted."""
        return False

    def get_urls(self) -> list[URLPattern]:
        """What can happen to an asset, and the monthly run."""
        view, name = self.admin_site.admin_view, "llm_center_llmdataasset"
        return [
            path("amortize/", view(self.amortize_view), name=f"{name}_amortize"),
            path("<int:pk>/event/<str:what>/", view(self.event_view), name=f"{name}_event"),
            *super().get_urls(),
        ]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """With the schedule and its picture."""
        extra = dict(extra_context or {})
        asset = self.get_object(request, object_id) if object_id else None
        if asset is not None:
            months = asset_schedule(asset)
            extra |= {
                "asset": asset,
                "schedule": months,
                "chart_options": json.dumps(CHART_OPTIONS),
                "carrying": carrying_value(asset),
                "may_book": self.has_change_permission(request, asset) and asset.status != LlmDataAsset.Status.DISPOSED,
                "chart": json.dumps(
                    {
                        "labels": [f"{month.period:%Y-%m}" for month in months],
                        "datasets": [
                            {
                                "label": "Carrying value, $",
                                "data": [float(month.carrying) for month in months],
                                "borderColor": "var(--color-primary-600)",
                            }
                        ],
                    }
                ),
            }
        return super().changeform_view(request, object_id, form_url, extra)

    def event_view(self, request: HttpRequest, pk: int, what: str) -> HttpResponse:
        """Add a cost, impair, dispose of: a form that says what it will book; on POST book it."""
        asset = get_object_or_404(LlmDataAsset, pk=pk)
        if not self.has_change_permission(request, asset):
            raise PermissionDenied
        if what not in ASSET_EVENTS:
            return HttpResponse("Nothing of that name can happen to an asset.", status=404)
        title, effect = ASSET_EVENTS[what]
        form = AssetEventForm(request.POST or None, what=what)
        if request.method == "POST" and form.is_valid():
            try:
                form.book(asset=asset, what=what, by=staff_user(request))
            except KamioiError as error:
                form.add_error(None, str(error))
            else:
                self.message_user(
                    request, f"{asset}: {what} of ${form.cleaned_data['amount']:,.2f} booked.", messages.SUCCESS
                )
                return redirect("admin:llm_center_llmdataasset_change", pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"{title}: {asset}",
            "opts": self.opts,
            "form": form,
            "effect": f"{asset} stands at ${carrying_value(asset):,}. {effect}",
            "button": title,
            "back": reverse("admin:llm_center_llmdataasset_change", args=[pk]),
        }
        return TemplateResponse(request, "admin/llm_center/asset_form.html", context)

    def amortize_view(self, request: HttpRequest) -> HttpResponse:
        """What a month's run would book; on POST book it."""
        if not request.user.has_perm("llm_center.add_amortizationentry"):
            raise PermissionDenied
        form = MonthForm(request.POST or request.GET or {"month": f"{timezone.now():%Y-%m}"})
        context = {
            **self.admin_site.each_context(request),
            "title": "Run amortization",
            "opts": self.opts,
            "form": form,
        }
        if form.is_valid():
            try:
                if request.method == "POST":
                    done = amortize_month(month=form.cleaned_data["month"])
                    self.message_user(
                        request, f"{len(done.charges)} charges, ${done.total:,} booked.", messages.SUCCESS
                    )
                    return redirect("admin:llm_center_amortizationentry_changelist")
                context["preview"] = amortize_month(month=form.cleaned_data["month"], dry_run=True)
            except KamioiError as error:
                form.add_error(None, str(error))
        return TemplateResponse(request, "admin/llm_center/amortize.html", context)


ASSET_EVENTS = {
    "cost": ("Add a cost", "The cost is booked 15200 / 10100 and spread over the months that are left."),
    "impairment": (
        "Impair",
        "The loss is booked 67020 / 15100 at once; what is left is spread over the months that are left.",
    ),
    "disposal": (
        "Dispose of",
        "Months before the day are charged first; then it leaves the books, and what the proceeds do not cover is a loss. "
        "This cannot be taken back.",
    ),
}


class AssetEventForm(forms.Form):
    """Amount and day, and what else belongs to the event."""

    component = forms.ChoiceField(
        choices=[(word, word) for word in ("computing", "data", "labelling", "staff", "licences", "other")],
        widget=UnfoldAdminSelectWidget,
    )
    amount = forms.DecimalField(
        label="Amount, $", max_digits=14, decimal_places=2, min_value=Decimal(0), widget=UnfoldAdminTextInputWidget
    )
    dated_on = forms.DateField(label="Day", initial=lambda: timezone.now().date(), widget=UnfoldAdminTextInputWidget)
    in_books = forms.BooleanField(label="Stands in the books already", required=False)
    note = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)

    def __init__(self, *args: Any, what: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if what != "cost":
            del self.fields["component"], self.fields["in_books"]
        if what == "disposal":
            self.fields["amount"].label = "Proceeds, $"

    def book(self, *, asset: LlmDataAsset, what: str, by: Any) -> AssetEvent:
        """Let it happen. Raises AssetOperationError."""
        data = self.cleaned_data
        common = {"asset_id": asset.pk, "dated_on": data["dated_on"], "by": by, "note": data["note"]}
        if what == "cost":
            return add_asset_cost(
                **common, amount=data["amount"], component=data["component"], in_books=data["in_books"]
            )
        if what == "impairment":
            return impair_asset(**common, amount=data["amount"])
        return dispose_asset(**common, proceeds=data["amount"])


class MonthForm(forms.Form):
    """Which month to book."""

    month = forms.DateField(label="Month (YYYY-MM)", input_formats=["%Y-%m"], widget=UnfoldAdminTextInputWidget)


@admin.register(AssetEvent)
class AssetEventAdmin(HistoryAdmin):
    """What happened to assets."""

    list_display = ("id", "asset", "kind", "component", "amount", "dated_on", "created_by")
    list_select_related = ("asset", "created_by")


@admin.register(AmortizationEntry)
class AmortizationEntryAdmin(HistoryAdmin):
    """Monthly charges."""

    list_display = ("id", "asset", "period", "amount", "credit_account", "created_at", "reversed_at", "reversed_by")
    list_select_related = ("asset", "reversed_by")
    list_before_template = "admin/llm_center/amortize_link.html"
    change_form_before_template = "admin/llm_center/reverse_link.html"

    def get_urls(self) -> list[URLPattern]:
        """The way to take a charge back."""
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/reverse/", view(self.reverse_view), name="llm_center_amortizationentry_reverse"),
            *super().get_urls(),
        ]

    def reverse_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Say what reversing books; on POST book it."""
        if not request.user.has_perm("llm_center.change_amortizationentry"):
            raise PermissionDenied
        entry = get_object_or_404(AmortizationEntry.objects.select_related("asset"), pk=pk)
        form = ReasonForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            try:
                reverse_entry(entry_id=pk, actor=staff_user(request), reason=form.cleaned_data["reason"])
            except KamioiError as error:
                form.add_error(None, str(error))
            else:
                self.message_user(request, f"{entry.asset} {entry.period:%Y-%m} is reversed.", messages.SUCCESS)
                return redirect("admin:llm_center_amortizationentry_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Reverse {entry.asset}, {entry.period:%Y-%m}",
            "opts": self.opts,
            "form": form,
            "button": "Reverse the charge",
            "back": reverse("admin:llm_center_amortizationentry_changelist"),
            "effect": f"A contra entry of ${entry.amount:,} is booked ({entry.credit_account} / 67010). The next run charges the "
            "month anew, by the asset's facts of then.",
        }
        return TemplateResponse(request, "admin/llm_center/asset_form.html", context)


class ReasonForm(forms.Form):
    """Why."""

    reason = forms.CharField(max_length=60, widget=UnfoldAdminTextInputWidget)


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
        validate_brand(instance)


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
            validate_brand(
                CatalogueBrand(
                    **{name: data.get(name, "") for name in ("ticker", "reason")}, aliases=data.get("aliases") or []
                )
            )
            data["ticker"] = data.get("ticker", "").strip().upper()
        return data


@admin.register(CalibrationFit)
class CalibrationFitAdmin(HistoryAdmin):
    """How good the proposals are, by what reviewers made of them; below it the fits that came of it."""

    list_display = ("id", "source", "observations", "brier_before", "brier_after", "fitted_at")
    list_before_template = "admin/llm_center/learning.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """With the pictures and the what-if."""
        found = get_learning_stats()
        threshold = auto_approval_threshold()
        extra = {
            "title": "Learning",
            "learning": found,
            "accuracy_chart": json.dumps(
                chart(
                    [month for month, _, _ in found.months],
                    **{"right, %": [round(100 * right / count, 1) for _, count, right in found.months]},
                )
            ),
            "calibration_chart": json.dumps(
                chart(
                    [f"{low:.0%}–{low + 0.1:.0%}" for low, *_ in found.bins],
                    **{
                        "stated, %": [round(100 * stated, 1) for _, _, stated, _ in found.bins],
                        "right, %": [round(100 * right, 1) for *_, right in found.bins],
                    },
                )
            ),
            "chart_options": json.dumps(CHART_OPTIONS),
            "what_if": [asdict(one) for one in found.thresholds],
            "threshold": float(threshold) if threshold is not None else None,
        }
        return super().changelist_view(request, {**(extra_context or {}), **extra})


@admin.register(LlmCall)
class LlmCallAdmin(HistoryAdmin):
    """What asking a model took and cost, call by call."""

    list_display = (
        "id",
        "started_at",
        "provider",
        "model",
        "merchants",
        "prompt_tokens",
        "completion_tokens",
        "cost",
        "duration_ms",
        "retries",
        "error",
    )
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

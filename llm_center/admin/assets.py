"""Admin pages of data assets and their amortization."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from kamioi_site.admin.display import FormattedListMixin, ReversalMixin
from kamioi_site.admin.history import HistoryAdmin, NoDeleteMixin
from kamioi_site.admin.pages import CHART_OPTIONS, line_chart, page_context, staff_user
from kamioi_site.errors import KamioiError
from kamioi_site.formatting import money
from kamioi_site.numbers import FormDecimalField
from llm_center.models import AmortizationEntry, AssetEvent, LlmDataAsset
from llm_center.services.amortization import (
    add_asset_cost,
    amortize_month,
    asset_schedule,
    carrying_value,
    dispose_asset,
    impair_asset,
    reverse_entry,
)

AMORTIZE_LINK = ("admin:llm_center_llmdataasset_amortize", "Run amortization")


def _total(rows: QuerySet[Any]) -> Coalesce:
    """Return the sum of an asset's rows, as a subquery."""
    sums = rows.filter(asset=OuterRef("pk")).values("asset").annotate(total=Sum("amount")).values("total")
    return Coalesce(Subquery(sums), Value(Decimal("0.00")))


class AssetEventInline(TabularInline):
    """Costs, impairments and the disposal of an asset; they are booked by the buttons above."""

    model = AssetEvent
    fields = readonly_fields = ("kind", "component", "amount", "dated_on", "note", "created_by", "created_at")
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(LlmDataAsset)
class LlmDataAssetAdmin(NoDeleteMixin, FormattedListMixin, ModelAdmin):
    """Capitalized models and data sets with their costs, schedule and carrying value."""

    list_display = (
        "asset_name",
        "asset_type",
        "status",
        "cost_basis",
        "carrying",
        "useful_life_months",
        "in_service_on",
    )
    list_link = AMORTIZE_LINK
    list_before_template = "admin/list_link.html"
    change_form_before_template = "admin/llm_center/asset_schedule.html"
    inlines = (AssetEventInline,)

    def get_queryset(self, request: HttpRequest) -> Any:
        charges = AmortizationEntry.objects.filter(reversal=None)
        impairments = AssetEvent.objects.filter(kind=AssetEvent.Kind.IMPAIRMENT)
        return super().get_queryset(request).annotate(written_off=_total(charges) + _total(impairments))

    @display(description="Carrying value")
    def carrying(self, asset: Any) -> str:
        disposed = asset.status == LlmDataAsset.Status.DISPOSED
        return money(Decimal(0) if disposed else asset.cost_basis - asset.written_off)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The cost is the sum of the events; a disposed asset does not change.
        if obj is None:
            return ()
        if obj.status == LlmDataAsset.Status.DISPOSED:
            return [field.name for field in obj._meta.fields if field.editable and field.name != "id"]
        return ("cost_basis",)

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "llm_center_llmdataasset"
        return [
            path("amortize/", view(self.amortize_view), name=f"{name}_amortize"),
            path("<int:pk>/event/<str:what>/", view(self.event_view), name=f"{name}_event"),
            *super().get_urls(),
        ]

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> Any:
        """Show the amortization schedule as a chart and a table."""
        extra = dict(extra_context or {})
        asset = self.get_object(request, object_id) if object_id else None
        if asset is not None:
            months = asset_schedule(asset)
            extra |= {
                "asset": asset,
                "schedule": months,
                "chart_options": CHART_OPTIONS,
                "carrying": carrying_value(asset),
                "may_book": self.has_change_permission(request, asset) and asset.status != LlmDataAsset.Status.DISPOSED,
                "chart": line_chart(
                    [f"{month.period:%b %Y}" for month in months],
                    **{"Carrying value, $": [float(month.carrying) for month in months]},
                ),
            }
        return super().changeform_view(request, object_id, form_url, extra)

    def event_view(self, request: HttpRequest, pk: int, what: str) -> HttpResponse:
        """Add a cost, impair or dispose of an asset: show what will be posted; on POST post it."""
        asset = get_object_or_404(LlmDataAsset, pk=pk)
        if not self.has_change_permission(request, asset):
            raise PermissionDenied
        if what not in ASSET_EVENTS:
            return HttpResponse("Unknown event.", status=404)
        title, effect = ASSET_EVENTS[what]
        form = AssetEventForm(request.POST or None, what=what)
        if request.method == "POST" and form.is_valid():
            try:
                form.post(asset=asset, what=what, by=staff_user(request))
            except KamioiError as error:
                form.add_error(None, str(error))
            else:
                text = f"{asset}: {what} of {money(form.cleaned_data['amount'])} posted."
                self.message_user(request, text, messages.SUCCESS)
                return redirect("admin:llm_center_llmdataasset_change", pk)
        context = page_context(
            self,
            request,
            f"{title}: {asset}",
            form=form,
            effect=f"The carrying value of {asset} is {money(carrying_value(asset))}. {effect}",
            button=title,
            back=reverse("admin:llm_center_llmdataasset_change", args=[pk]),
        )
        return TemplateResponse(request, "admin/confirm.html", context)

    def amortize_view(self, request: HttpRequest) -> HttpResponse:
        """Show the charges that are due up to a month; on POST post them."""
        if not request.user.has_perm("llm_center.add_amortizationentry"):
            raise PermissionDenied
        form = MonthForm(request.POST or request.GET or {"month": f"{timezone.now():%Y-%m}"})
        context = page_context(self, request, "Run amortization", form=form)
        if form.is_valid():
            try:
                if request.method == "POST":
                    run = amortize_month(month=form.cleaned_data["month"])
                    text = f"{len(run.charges)} charges of {money(run.total)} in total posted."
                    self.message_user(request, text, messages.SUCCESS)
                    return redirect("admin:llm_center_amortizationentry_changelist")
                context["preview"] = amortize_month(month=form.cleaned_data["month"], dry_run=True)
            except KamioiError as error:
                form.add_error(None, str(error))
        return TemplateResponse(request, "admin/llm_center/amortize.html", context)


ASSET_EVENTS = {
    "cost": ("Add a cost", "The cost is debited to 15200, credited to 10100 and amortized over the remaining months."),
    "impairment": (
        "Impair",
        "The loss is debited to 67020 and credited to 15100; the rest is amortized over the remaining months.",
    ),
    "disposal": (
        "Dispose",
        "Earlier months are charged first, then the asset is derecognized. A shortfall is a loss. "
        "This cannot be undone.",
    ),
}


class AssetEventForm(forms.Form):
    component = forms.ChoiceField(
        choices=[(name, name) for name in ("computing", "data", "labelling", "staff", "licences", "other")],
        widget=UnfoldAdminSelectWidget,
    )
    amount = FormDecimalField(
        label="Amount ($)", max_digits=14, decimal_places=2, min_value=Decimal(0), widget=UnfoldAdminTextInputWidget
    )
    dated_on = forms.DateField(label="Date", initial=lambda: timezone.now().date(), widget=UnfoldAdminTextInputWidget)
    in_books = forms.BooleanField(label="Already posted in the ledger", required=False)
    note = forms.CharField(max_length=255, required=False, widget=UnfoldAdminTextInputWidget)

    def __init__(self, *args: Any, what: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if what != "cost":
            del self.fields["component"], self.fields["in_books"]
        if what == "disposal":
            self.fields["amount"].label = "Proceeds ($)"

    def post(self, *, asset: LlmDataAsset, what: str, by: Any) -> AssetEvent:
        """Post the event. Raises AssetOperationError."""
        data = self.cleaned_data
        common = {"asset_id": asset.pk, "dated_on": data["dated_on"], "actor": by, "note": data["note"]}
        if what == "cost":
            return add_asset_cost(
                **common, amount=data["amount"], component=data["component"], already_posted=data["in_books"]
            )
        if what == "impairment":
            return impair_asset(**common, amount=data["amount"])
        return dispose_asset(**common, proceeds=data["amount"])


class MonthForm(forms.Form):
    month = forms.DateField(label="Month (YYYY-MM)", input_formats=["%Y-%m"], widget=UnfoldAdminTextInputWidget)


@admin.register(AssetEvent)
class AssetEventAdmin(HistoryAdmin):
    list_display = ("id", "asset", "kind", "component", "amount", "dated_on", "created_by")
    list_select_related = ("asset", "created_by")


@admin.register(AmortizationEntry)
class AmortizationEntryAdmin(ReversalMixin, HistoryAdmin):
    """Monthly amortization charges."""

    list_display = ("id", "asset", "period", "amount", "credit_account", "created_at", "reversed_at", "reversed_by")
    list_select_related = ("asset", "reversal__reversed_by")
    readonly_fields = ("reversed_at", "reversed_by")
    list_link = AMORTIZE_LINK
    list_before_template = "admin/list_link.html"
    change_form_before_template = "admin/llm_center/reverse_link.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/reverse/", view(self.reverse_view), name="llm_center_amortizationentry_reverse"),
            *super().get_urls(),
        ]

    def reverse_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show what a reversal posts; on POST post it."""
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
                self.message_user(request, f"{entry.asset}, {entry.period:%B %Y}: charge reversed.", messages.SUCCESS)
                return redirect("admin:llm_center_amortizationentry_changelist")
        context = page_context(
            self,
            request,
            f"Reverse {entry.asset}, {entry.period:%B %Y}",
            form=form,
            button="Reverse the charge",
            back=reverse("admin:llm_center_amortizationentry_changelist"),
            effect=f"{money(entry.amount)} is debited to {entry.credit_account} and credited to 67010. The next run "
            "charges the month again, based on the asset at that time.",
        )
        return TemplateResponse(request, "admin/confirm.html", context)


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=60, widget=UnfoldAdminTextInputWidget)

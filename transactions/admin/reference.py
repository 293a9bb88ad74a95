"""Admin pages of companies, merchants, prices and settings."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from kamioi_site.admin.display import FormattedListMixin, StatusMixin
from kamioi_site.admin.history import HistoryAdmin, NoDeleteMixin
from kamioi_site.admin.keyset import KeysetAdmin, active_filters
from kamioi_site.admin.pages import staff_user
from kamioi_site.live_settings import SettingError
from transactions.models import Company, Merchant, PlatformFee, Setting, StockPrice
from transactions.services.platform_fees import FEE_SETTINGS, announce_fee, fee_on
from transactions.services.settings import clean_setting


@admin.register(Company)
class CompanyAdmin(NoDeleteMixin, KeysetAdmin):
    """Companies that can be bought; edits made here survive the next import."""

    keyset = ("ticker",)
    list_display = ("ticker", "name", "exchange", "is_listed", "edited")
    list_filter = ("is_listed", "edited")
    search_fields = ("ticker__iexact", "name__icontains")
    readonly_fields = ("edited",)

    def save_model(self, request: HttpRequest, obj: Company, form: Any, change: bool) -> None:
        obj.edited = True
        super().save_model(request, obj, form, change)


@admin.register(Merchant)
class MerchantAdmin(StatusMixin, HistoryAdmin):
    """The merchant directory; decisions are made in the review queue, which records and releases them."""

    list_display = (
        "merchant_key",
        "ticker",
        "company_name",
        "status_label",
        "confidence",
        "source",
        "waiting_count",
        "waiting_amount",
        "decided_at",
    )
    list_filter = ("status", "source")
    search_lookup = "merchant_key__startswith"
    search_case = "upper"
    search_help_text = "Start of the merchant name, as listed here"
    change_form_outer_before_template = "admin/transactions/merchant_actions.html"


@admin.register(StockPrice)
class StockPriceAdmin(HistoryAdmin):
    list_display = ("ticker", "price", "as_of", "source")
    search_lookup = "ticker"
    search_case = "upper"
    search_help_text = "Ticker"

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        # The index on a ticker is ordered by time.
        return ("-as_of", "-id") if "q" in active_filters(request) else ("-id",)


class SettingForm(forms.ModelForm):
    value = forms.CharField(required=False, widget=UnfoldAdminTextInputWidget)

    def clean_value(self) -> str:
        """Check the value against the setting's type and range."""
        try:
            return clean_setting(
                key=self.cleaned_data.get("key") or self.instance.key,
                kind=self.cleaned_data.get("type") or self.instance.type,
                text=self.cleaned_data["value"],
            )
        except SettingError as error:
            raise forms.ValidationError(str(error)) from error


@admin.register(Setting)
class SettingAdmin(NoDeleteMixin, FormattedListMixin, ModelAdmin):
    """Settings, which apply at once, except the platform fee; the admin log keeps old and new values."""

    form = SettingForm
    list_display = ("key", "value", "type", "description", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> tuple[str, ...]:
        return ("key", "type", "updated_at") if obj else ("updated_at",)

    def save_model(self, request: HttpRequest, obj: Setting, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if obj.key in FEE_SETTINGS:
            announce_fee(actor=staff_user(request))

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        if add or "value" not in form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        return f"{form.instance.key}: {form.initial.get('value')!r} → {form.cleaned_data['value']!r}"


@admin.register(PlatformFee)
class PlatformFeeAdmin(HistoryAdmin):
    """Past, present and announced fees; a change of the settings adds one."""

    keyset = ("-first_day",)
    list_display = ("first_day", "fee", "max_share", "state", "set_by", "set_at")
    list_select_related = ("set_by",)

    def prepare_page(self, rows: list[Any]) -> None:
        current = fee_on(timezone.now()).first_day
        for row in rows:
            later = "announced" if row.first_day > current else "in force"
            row.state_now = "past" if row.first_day < current else later

    @display(description="State")
    def state(self, row: Any) -> str:
        return str(row.state_now)

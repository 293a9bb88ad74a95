"""Admin pages of the brand catalogue."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from import_export import resources
from import_export.admin import ImportExportModelAdmin
from import_export.widgets import Widget
from unfold.contrib.import_export.forms import ExportForm, ImportForm

from kamioi_site.admin.keyset import KeysetAdmin
from kamioi_site.http.downloads import escape_formula
from llm_center.models import CatalogueBrand
from llm_center.services.brands import validate_brand


class PipeSeparatedWidget(Widget):
    """A list of texts in one cell, separated by `|`."""

    def clean(self, value: Any, row: Any = None, **kwargs: Any) -> list[str]:
        return [part.strip() for part in str(value or "").split("|") if part.strip()]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "|".join(value or [])


class BrandResource(resources.ModelResource):
    """The catalogue as a file, in the format of the data that ships with the application."""

    aliases = resources.Field(column_name="aliases", attribute="aliases", widget=PipeSeparatedWidget())

    class Meta:
        model = CatalogueBrand
        import_id_fields = ("name",)
        fields = ("name", "aliases", "owner", "ticker", "reason", "category", "source", "as_of")
        skip_unchanged = True
        report_skipped = False
        use_bulk = False

    def export_field(self, field: resources.Field, instance: CatalogueBrand, *args: Any, **kwargs: Any) -> Any:
        """Escape cells that a spreadsheet would evaluate."""
        value = super().export_field(field, instance, *args, **kwargs)
        return escape_formula(value) if isinstance(value, str) else value

    def after_init_instance(self, instance: CatalogueBrand, new: bool, row: Any, **kwargs: Any) -> None:
        instance.edited = True

    def before_save_instance(self, instance: CatalogueBrand, row: Any, **kwargs: Any) -> None:
        # An invalid row rejects the whole file.
        instance.edited = True
        validate_brand(instance)


class CatalogueBrandForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        """Require a listed ticker or a reason."""
        data = super().clean() or {}
        if not self.errors:
            validate_brand(
                CatalogueBrand(
                    **{name: data.get(name, "") for name in ("ticker", "reason")}, aliases=data.get("aliases") or []
                )
            )
            data["ticker"] = data.get("ticker", "").strip().upper()
        return data


@admin.register(CatalogueBrand)
class CatalogueBrandAdmin(KeysetAdmin, ImportExportModelAdmin):
    """Brands and their owners; edits survive the next release, and the matcher uses them within minutes."""

    form = CatalogueBrandForm
    resource_classes = [BrandResource]
    import_form_class = ImportForm
    export_form_class = ExportForm
    keyset = ("name",)
    list_display = ("name", "owner", "ticker", "reason", "category", "as_of", "edited", "updated_at")
    list_filter = ("reason", "edited")
    search_fields = ("name", "ticker")
    search_help_text = "Part of the name or the ticker"
    readonly_fields = ("edited", "updated_at")

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        # The catalogue is small enough for a search by part of the name.
        term = search_term.strip()
        return (queryset.filter(Q(name__icontains=term) | Q(ticker=term.upper())) if term else queryset), False

    def save_model(self, request: HttpRequest, obj: CatalogueBrand, form: Any, change: bool) -> None:
        obj.edited = True
        super().save_model(request, obj, form, change)

"""Admin pages of proposals."""

from collections.abc import Iterator, Sequence

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path

from kamioi_site.admin.display import StatusMixin
from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.keyset import DayRangeFilter
from kamioi_site.http.downloads import csv_download, csv_line, rows_in_pages
from llm_center.models import LlmMapping


@admin.register(LlmMapping)
class LlmMappingAdmin(StatusMixin, HistoryAdmin):
    """Every proposal and its outcome."""

    list_display = (
        "id",
        "created_at",
        "merchant_name",
        "ticker",
        "confidence",
        "status_label",
        "source",
        "ai_model_version",
        "decided_by",
    )
    list_select_related = ("decided_by",)
    list_filter = ("status", ("created_at", DayRangeFilter))
    list_filter_submit = True
    list_before_template = "admin/llm_center/mapping_export_link.html"
    search_lookup = "merchant_name"
    search_help_text = "The full merchant name, as written on the statement"

    def get_keyset(self, request: HttpRequest) -> tuple[str, ...]:
        # The index on (status, created_at) serves one status.
        by_time = {"status__exact", "created_at_from", "created_at_to"} & request.GET.keys()
        return ("-created_at", "-id") if by_time else ("-id",)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [path("export/", view(self.export_view), name="llm_center_llmmapping_export"), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
        """Stream all rows of the filter as CSV, with the columns that an upload takes."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            rows = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return redirect("admin:llm_center_llmmapping_changelist")
        return csv_download(request, _export_lines(rows, self.get_keyset(request)), filename="mappings.csv")


def _export_lines(rows: QuerySet[LlmMapping], order: Sequence[str]) -> Iterator[str]:
    columns = "merchant_name", "category", "ticker", "company_name", "confidence", "status", "source", "created_at"
    yield csv_line(["Merchant Name", "Category", "Ticker", "Company Name", "Confidence", "Status", "Source", "Created"])
    for *texts, confidence, status, source, created in rows_in_pages(rows, columns, order=order):
        percent = f"{confidence * 100:.2f}"
        yield csv_line([*(text or "" for text in texts), percent, status, source, f"{created:%Y-%m-%d %H:%M:%S}"])

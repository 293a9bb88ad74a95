"""Downloads of report files, for the API and the admin."""

from typing import Final

from django.http import Http404, HttpRequest, StreamingHttpResponse

from analytics.models import Report
from kamioi_site.http.downloads import file_download

CONTENT_TYPES: Final = {Report.Format.PDF: "application/pdf", Report.Format.CSV: "text/csv; charset=utf-8"}


def report_download(request: HttpRequest, report: Report) -> StreamingHttpResponse:
    """Stream the file of a report. Raises Http404 when the file no longer exists."""
    try:
        file = report.file.open("rb")
    except FileNotFoundError:
        raise Http404 from None
    return file_download(
        request,
        file,
        filename=report.filename,
        size=report.size,
        content_type=CONTENT_TYPES[Report.Format(report.format)],
    )

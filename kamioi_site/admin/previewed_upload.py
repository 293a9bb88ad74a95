"""Uploads in two steps: a preview of how the file is read, then the import."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from kamioi_site.admin.display import TaskStatusMixin
from kamioi_site.admin.history import HistoryAdmin
from kamioi_site.admin.pages import page_context
from kamioi_site.errors import KamioiError
from kamioi_site.http.downloads import csv_download
from kamioi_site.imports.previews import PREVIEW_SECONDS, PREVIEWS, delete_preview, store_for_preview


@dataclass(frozen=True, slots=True)
class PreviewColumn:
    """A column of the preview: heading, attribute of the row, and how its values are shown."""

    heading: str
    attribute: str
    text: Callable[[Any], str] | None = None
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class PreviewChoice:
    """A select field below the preview: its name and label, and (value, label) of its options, the default first."""

    name: str
    label: str
    options: Sequence[tuple[str, str]]


class PreviewedUploadAdmin(TaskStatusMixin, HistoryAdmin):
    """Admin of an import model, with an upload form, a preview and the download of rejected rows.

    The previewed file waits in the storage; a signed token carries its name and the fields of the form to the import.
    """

    upload_form: type[forms.Form]
    upload_title: str
    upload_hint: str
    # What the import does, shown below the preview.
    upload_effect: str = ""
    preview_columns: tuple[PreviewColumn, ...]
    # Counts of the import: label, key in the result of the background task, field of the row.
    import_counts: tuple[tuple[str, str, str], ...]
    reject_permission: str
    # Names of the radio buttons that answer the preview's `questions`, and of its choices.
    answer_keys: tuple[str, ...] = ()
    list_before_template = "admin/list_link.html"
    change_form_before_template = "admin/import_progress.html"

    def read_preview(self, upload: UploadedFile, fields: dict[str, Any]) -> Any:
        """Read the first rows; `fields` are those of the import. Raises KamioiError."""
        raise NotImplementedError

    def preview_later(
        self, request: HttpRequest, upload: UploadedFile, fields: dict[str, Any]
    ) -> HttpResponseRedirect | None:
        """Let a worker read the file and redirect to the page that waits for it; None to read it at once."""
        return None

    def preview_details(self, preview: Any, fields: dict[str, Any]) -> dict[str, str]:
        """Return what is shown above the rows, by label; `fields` are those of the import."""
        raise NotImplementedError

    def preview_choices(self, preview: Any, fields: dict[str, Any]) -> list[PreviewChoice]:
        """Return what can be chosen before the import; the names are among `answer_keys`."""
        return []

    def token_fields(self, form: forms.Form) -> dict[str, Any]:
        """Return what the import needs beside the file."""
        raise NotImplementedError

    def start_import(self, request: HttpRequest, *, filename: str, content: File, fields: dict[str, Any]) -> Any:
        """Store the file and start its import. Raises KamioiError."""
        raise NotImplementedError

    def related_link(self, obj: Any) -> tuple[str, str]:
        """Return address and label of the link below an import's progress."""
        raise NotImplementedError

    def rejected_rows(self, obj: Any) -> Any:
        """Return the lines of the CSV file of rejected rows."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, f"{self.opts.app_label}_{self.opts.model_name}"
        return [
            path("upload/", view(self.upload_view), name=f"{name}_upload"),
            path("<int:pk>/rejects.csv", view(self.rejects_view), name=f"{name}_rejects"),
            *super().get_urls(),
        ]

    def _url(self, page: str) -> str:
        return f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"

    @property
    def list_link(self) -> tuple[str, str]:
        """The button above the list."""
        return self._url("upload"), self.upload_title

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], obj: Any = None, **kwargs: Any) -> Any:
        counts = [(label, key, getattr(obj, name)) for label, key, name in self.import_counts]
        context |= {
            "counts": counts,
            "rejects_url": reverse(self._url("rejects"), args=[obj.pk])
            if request.user.has_perm(self.reject_permission)
            else "",
            "related_link": self.related_link(obj),
        }
        return super().render_change_form(request, context, obj=obj, **kwargs)

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Show the form, then the preview, then start the import."""
        if not request.user.has_perm(f"{self.opts.app_label}.add_{self.opts.model_name}"):
            raise PermissionDenied
        if request.method == "POST" and "token" in request.POST:
            return self._confirm(request)
        form = self.upload_form(request.POST or None, request.FILES or None)
        context = page_context(self, request, self.upload_title, form=form, admin=self)
        if request.method == "POST" and form.is_valid():
            upload: UploadedFile = form.cleaned_data["file"]
            fields = self.token_fields(form)
            try:
                if later := self.preview_later(request, upload, fields):
                    return later
                preview = self.read_preview(upload, fields)
                stored = store_for_preview(upload, self.opts.model_name or "")
            except KamioiError as error:
                form.add_error("file", str(error))
            else:
                context |= self.preview_context(preview, stored=stored, filename=upload.name or "", fields=fields)
        return TemplateResponse(request, "admin/previewed_upload.html", context)

    def preview_context(self, preview: Any, *, stored: str, filename: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Return what the template needs to show the preview."""
        token = {"stored": stored, "name": filename, "fields": fields}
        return {
            "preview": preview,
            "details": self.preview_details(preview, fields),
            "choices": self.preview_choices(preview, fields),
            "rows": [[_cell(row, column) for column in self.preview_columns] for row in preview.rows],
            "filename": filename,
            "upload_url": reverse(self._url("upload")),
            "token": signing.dumps(token, salt=PREVIEWS),
        }

    def _confirm(self, request: HttpRequest) -> HttpResponse:
        try:
            token = signing.loads(request.POST["token"], salt=PREVIEWS, max_age=PREVIEW_SECONDS)
            with default_storage.open(token["stored"]) as file:
                answers = {key: request.POST[key] for key in self.answer_keys if key in request.POST}
                fields = token["fields"] | {"answers": answers}
                created = self.start_import(request, filename=token["name"], content=File(file), fields=fields)
        except (signing.BadSignature, FileNotFoundError):
            messages.error(request, "This file was already imported, or its preview has expired. Choose it again.")
            return redirect(self._url("upload"))
        except KamioiError as error:
            messages.error(request, str(error))
            return redirect(self._url("upload"))
        delete_preview(token["stored"])
        messages.success(request, f"Importing {created.filename}.")
        return redirect(self._url("change"), created.pk)

    def rejects_view(self, request: HttpRequest, pk: int) -> StreamingHttpResponse:
        """Download the rejected rows with their reasons."""
        if not request.user.has_perm(self.reject_permission):
            raise PermissionDenied
        obj = get_object_or_404(self.get_queryset(request), pk=pk)
        return csv_download(request, self.rejected_rows(obj), filename=f"{self.opts.model_name}-rejects-{pk}.csv")


def _cell(row: Any, column: PreviewColumn) -> tuple[str, bool]:
    value = getattr(row, column.attribute)
    return column.text(value) if column.text else str(value), column.is_number

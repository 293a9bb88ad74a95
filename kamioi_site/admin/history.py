"""Base classes for tables whose rows staff do not write by hand."""

from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from kamioi_site.admin.keyset import KeysetAdmin


class NoDeleteMixin:
    """Rows stay, because others refer to them."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class GeneratedRowsAdmin(KeysetAdmin):
    """Rows that the application writes; staff may view them and, with permission, delete them."""

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class HistoryAdmin(NoDeleteMixin, GeneratedRowsAdmin):
    """Read-only history: corrections are new entries, never edits."""

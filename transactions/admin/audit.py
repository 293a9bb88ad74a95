"""Admin pages of the audit trail and the admin log."""

from django.contrib import admin
from django.contrib.admin.models import LogEntry

from kamioi_site.admin.history import HistoryAdmin
from transactions.models import AuditEvent


@admin.register(LogEntry)
class LogEntryAdmin(HistoryAdmin):
    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag", "change_message")
    list_select_related = ("user", "content_type")


@admin.register(AuditEvent)
class AuditEventAdmin(HistoryAdmin):
    list_display = ("at", "user", "kind", "action", "target", "status", "address")
    list_filter = ("kind",)
    list_select_related = ("user",)

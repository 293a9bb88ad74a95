"""Entries of the admin's log for changes that Django's admin does not log itself."""

from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model


def audit_log(actor: Any, message: str, *, target: Model | str, action: int = CHANGE) -> None:
    """Log what `actor` did to `target`: an object, or a label for what is not in the database."""
    entry = LogEntry(user_id=actor.pk, action_flag=action, object_repr=str(target)[:200], change_message=message)
    if isinstance(target, Model):
        entry.content_type, entry.object_id = ContentType.objects.get_for_model(target), str(target.pk)
    entry.save()

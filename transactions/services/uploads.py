"""What customers may upload, and when uploads, rejected rows and exports expire."""

from datetime import timedelta

from django.db.models import Count, Q, Sum
from django.utils import timezone

from kamioi_site.imports.models import expire_imports
from kamioi_site.imports.previews import delete_expired_previews
from kamioi_site.live_settings import current_values
from transactions import live_settings
from transactions.errors import UploadQuotaError
from transactions.models import BackgroundTask, StatementImport, User
from transactions.services.privacy import delete_expired_exports

_OPEN = BackgroundTask.OPEN
_MEGABYTE = 1_000_000


def check_upload_quota(*, user: User, size: int) -> None:
    """Check that the customer may upload `size` more bytes; call it in the transaction that stores the upload.

    Raises UploadQuotaError.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)  # two uploads at once are counted one after the other
    since = timezone.now() - timedelta(days=1)
    used = StatementImport.objects.filter(user=user, created_at__gte=since).aggregate(
        files=Count("pk"), bytes=Sum("size", default=0), running=Count("pk", filter=Q(task__status__in=_OPEN))
    )
    running, files, megabytes = current_values(
        live_settings.UPLOADS_RUNNING, live_settings.UPLOADS_PER_DAY, live_settings.UPLOAD_MEGABYTES_PER_DAY
    )
    if used["running"] >= running:
        raise UploadQuotaError(f"{running} uploads are still being read. Wait until one is done.", wait=60)
    if used["files"] >= files:
        raise UploadQuotaError(f"At most {files:,} files are accepted within 24 hours.")
    if used["bytes"] + size > megabytes * _MEGABYTE:
        raise UploadQuotaError(f"At most {megabytes:,} MB are accepted within 24 hours.")


def expire_uploads() -> int:
    """Delete the files and rejected rows of old imports, and old exports. Returns the number of imports."""
    delete_expired_exports()
    delete_expired_previews()
    return expire_imports(before=timezone.now() - timedelta(days=live_settings.UPLOAD_EXPIRY_DAYS.get()))

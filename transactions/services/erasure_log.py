"""The log of erasures, kept with the uploads: a restored database knows nothing of those that came after the backup.

Each erasure is an empty file named after the id and the creation of the account. Together they name one account even if
a restored database gives its id to a new account.
"""

from datetime import UTC, datetime
from typing import Final

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from transactions.models import User

_DIRECTORY: Final = "erasures"
_CREATED: Final = "%Y%m%dT%H%M%S.%f"


def record_erasure(user: User) -> None:
    """Write the erasure to the log. Raises StorageFullError."""
    name = f"{_DIRECTORY}/{user.pk}-{user.created_at.astimezone(UTC):{_CREATED}}"
    if not default_storage.exists(name):
        default_storage.save(name, ContentFile(b""))


def recorded_erasures() -> list[tuple[int, datetime]]:
    """Return the ids of the erased users and when their accounts were created."""
    try:
        _, names = default_storage.listdir(_DIRECTORY)
    except FileNotFoundError:  # there was no erasure yet
        return []
    parts = [name.split("-", 1) for name in sorted(names)]
    return [(int(pk), datetime.strptime(created, _CREATED).replace(tzinfo=UTC)) for pk, created in parts]

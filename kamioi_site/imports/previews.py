"""Uploaded files that wait in the storage until their import is confirmed, and what a worker wrote beside them."""

from typing import Final

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone

# A preview expires after this time unless it is confirmed.
PREVIEW_SECONDS: Final = 3600
PREVIEWS: Final = "previews"


def store_for_preview(upload: UploadedFile, kind: str) -> str:
    """Store the file until its import is confirmed. Returns its name."""
    upload.seek(0)
    stored = default_storage.save(f"{PREVIEWS}/{kind}", upload)
    delete_expired_previews()
    return stored


def write_preview(stored: str, content: bytes) -> None:
    """Store the preview of a file, in place of one that an earlier attempt left."""
    default_storage.delete(_preview_name(stored))
    default_storage.save(_preview_name(stored), ContentFile(content))


def read_preview(stored: str) -> bytes:
    """Return the preview of a file. Raises FileNotFoundError when it has expired."""
    with default_storage.open(_preview_name(stored)) as file:
        return bytes(file.read())


def delete_preview(stored: str) -> None:
    """Delete the file and its preview."""
    default_storage.delete(stored)
    default_storage.delete(_preview_name(stored))


def delete_expired_previews() -> None:
    """Delete files that were not confirmed in time, and their previews."""
    oldest = timezone.now().timestamp() - PREVIEW_SECONDS
    if not default_storage.exists(PREVIEWS):
        return
    for name in default_storage.listdir(PREVIEWS)[1]:
        stored = f"{PREVIEWS}/{name}"
        if default_storage.get_modified_time(stored).timestamp() < oldest:
            default_storage.delete(stored)


def _preview_name(stored: str) -> str:
    return f"{stored}.json"

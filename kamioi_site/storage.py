"""The storage of uploaded and written files: a file is there as a whole or not at all."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from kamioi_site.errors import KamioiError

# No space, no quota, and larger than this process or file system allows.
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class StorageFullError(KamioiError):
    """There is no space left for files. Try again later."""

    status_code = 507
    wait = 300


def is_storage_full(error: BaseException | None) -> bool:
    """Whether the error says that a disk is full."""
    return isinstance(error, OSError) and error.errno in _FULL


class _WrittenFile(File):
    """A complete file, which the storage only has to rename."""

    def temporary_file_path(self) -> str:
        return str(self.name)


class ClosingUploadHandler(TemporaryFileUploadHandler):
    """Delete a temporary file that the disk cannot hold at once; Django leaves it to the garbage collector."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write the piece. Raises OSError."""
        try:
            super().receive_data_chunk(raw_data, start)
        except OSError:
            with contextlib.suppress(OSError):  # it cannot be flushed either
                self.file.close()
            raise


class WholeFileStorage(FileSystemStorage):
    """Write beside the destination and rename: neither a full disk nor a killed process leaves a part of a file."""

    def _save(self, name: str, content: Any) -> str:
        """Store the file. Raises StorageFullError."""
        try:
            os.makedirs(self.location, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.location, prefix=".part-", delete=False) as part:
                try:
                    for chunk in content.chunks():
                        part.write(chunk)
                    part.flush()
                    return str(super()._save(name, _WrittenFile(part, name=part.name)))  # type: ignore[misc]
                finally:
                    Path(part.name).unlink(missing_ok=True)
        except OSError as error:
            if is_storage_full(error):
                raise StorageFullError from error
            raise

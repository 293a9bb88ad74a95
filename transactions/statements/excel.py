"""Excel workbooks (.xlsx, .xls), converted to CSV sheet by sheet.

- Cells become what Excel displays: whole dates without a time, numbers with the fifteen digits that Excel keeps
  (0.1 + 0.2 is 0.3), an amount of dollars with its cents. The results of formulas are read; formulas are not run.
- Row numbers are those of the sheet: blank rows stay.
- A workbook is read whole, in a separate process with limits on memory and time: a few bytes can describe a cell a
  million rows down, or crash the parser. A hostile file ends that process and nothing else.
- At most `MAX_AT_ONCE` workbooks are read at once on a machine, whatever the number of workers; the others wait.
"""

import csv
import fcntl
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any, BinaryIO, Final

from transactions.errors import StatementError

EXCEL_MAX_BYTES: Final = 20_000_000
CSV_MAX_BYTES: Final = 64_000_000
MAX_MEMORY: Final = 768 << 20
MAX_SECONDS: Final = 60
MAX_AT_ONCE: Final = 2
# What a workbook may have in its ZIP archive.
UNPACKED_MAX_BYTES: Final = 256_000_000
_MAX_PARTS: Final = 10_000
_CHUNK: Final = 1 << 20
# A file of this size is looked into in any process; a larger one only in its own.
_SMALL_BYTES: Final = 1_000_000
_WAIT_SECONDS: Final = 0.2
_MAX_SHEETS: Final = 10
_WORKBOOK: Final = "xl/workbook.xml"
_XLSX, _XLS = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
# Exit codes of the child process.
_PROTECTED, _TOO_LARGE, _UNREADABLE, _ARCHIVE = 3, 4, 5, 6
_REASONS: Final = {
    _PROTECTED: "The workbook is protected by a password.",
    _TOO_LARGE: "The workbook is too large when it is unpacked; use CSV.",
    _ARCHIVE: "This is a ZIP archive, not a statement. Download the statement as CSV, Excel, OFX or QFX.",
}
_DAMAGED: Final = "The workbook cannot be read. Save it again, or as CSV."


def is_workbook(file: BinaryIO) -> bool:
    """Whether the content is that of a workbook; a large ZIP archive counts as one until it is read."""
    file.seek(0)
    head = file.read(4)
    if head != _XLSX:
        return head == _XLS
    if file.seek(0, io.SEEK_END) > _SMALL_BYTES:
        return True
    try:
        with zipfile.ZipFile(file) as archive:
            return _WORKBOOK in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def sheets_as_csv(file: BinaryIO) -> list[BinaryIO]:
    """Return the visible sheets that are not empty, each as a CSV file in memory. Raises StatementError."""
    if file.seek(0, io.SEEK_END) > EXCEL_MAX_BYTES:
        raise StatementError(f"A workbook may have at most {EXCEL_MAX_BYTES // 1_000_000} MB; use CSV for more.")
    file.seek(0)
    try:
        with _slot() as slot:
            done = subprocess.run(
                [sys.executable, "-m", __name__],
                input=file.read(),
                capture_output=True,
                timeout=2 * MAX_SECONDS,
                check=False,
                cwd=Path(__file__).resolve().parent.parent.parent,
                pass_fds=[slot],  # a child that outlives its parent keeps the slot
            )
    except subprocess.TimeoutExpired as error:
        raise StatementError(_REASONS[_TOO_LARGE]) from error
    if done.returncode:
        raise StatementError(_REASONS.get(done.returncode, _DAMAGED))
    output, sheets = io.BytesIO(done.stdout), list[BinaryIO]()
    while size := output.readline():
        sheets.append(io.BytesIO(output.read(int(size))))
    return sheets


@contextmanager
def _slot() -> Iterator[int]:
    """Wait for one of the machine's slots and hold it. The system frees the slot of a process that dies."""
    names = [f"kamioi-workbook-{os.getuid()}-{number}.lock" for number in range(MAX_AT_ONCE)]
    folder, flags = Path(tempfile.gettempdir()), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW
    files = [os.open(folder / name, flags, 0o600) for name in names]
    try:
        while True:
            for file in files:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield file
                return
            time.sleep(_WAIT_SECONDS)
    finally:
        for file in files:
            os.close(file)


# --- The child process --------------------------------------------------------------------------------------------
def _main() -> int:
    """Convert the workbook on standard input; write for each sheet a line with its size in bytes, then its CSV."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    from python_calamine import CalamineError, PasswordError  # noqa: PLC0415  # only the child process needs it

    remaining = CSV_MAX_BYTES
    try:
        file = io.BytesIO(sys.stdin.buffer.read())
        if refused := _archive_problem(file):
            return refused
        for sheet in _sheets(file):
            content = _as_csv(sheet)
            remaining -= len(content)
            if remaining < 0:
                return _TOO_LARGE
            sys.stdout.buffer.write(b"%d\n" % len(content) + content)
    except PasswordError:
        return _PROTECTED
    except MemoryError:
        return _TOO_LARGE
    except (CalamineError, OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return _UNREADABLE
    return 0


def _archive_problem(file: io.BytesIO) -> int:
    """Return the exit code for an archive that is none of a workbook or unpacks to too much, otherwise 0.

    The parts are unpacked in pieces, because the sizes that an archive declares may be wrong: a part that does not
    have its declared size raises BadZipFile.
    """
    is_archive = file.read(4) == _XLSX
    file.seek(0)
    if not is_archive:
        return 0
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if _WORKBOOK not in archive.namelist():
            return _ARCHIVE
        if len(parts) > _MAX_PARTS or sum(part.file_size for part in parts) > UNPACKED_MAX_BYTES:
            return _TOO_LARGE
        for part in parts:
            with archive.open(part) as content:
                while content.read(_CHUNK):
                    pass
    file.seek(0)
    return 0


def _sheets(file: BinaryIO) -> Iterator[list[list[Any]]]:
    from python_calamine import CalamineWorkbook, SheetTypeEnum, SheetVisibleEnum  # noqa: PLC0415

    workbook = CalamineWorkbook.from_filelike(file)
    visible = [
        sheet.name
        for sheet in workbook.sheets_metadata
        if sheet.typ == SheetTypeEnum.WorkSheet and sheet.visible == SheetVisibleEnum.Visible
    ]
    for name in visible[:_MAX_SHEETS]:
        rows = workbook.get_sheet_by_name(name).to_python(skip_empty_area=False)
        if any(cell != "" for row in rows for cell in row):
            yield rows


def _as_csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value.replace("\0", "").split())
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == clock_time() else value.isoformat()
    if isinstance(value, (date, clock_time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return str(value)


def _number(value: float) -> str:
    """Return fifteen digits, as in Excel, and never one decimal alone: a point could be a thousands separator."""
    text = f"{value:.15g}"
    if "e" in text or "n" in text:  # too large, too small, infinite
        return text
    _, _, decimals = text.partition(".")
    return f"{text}0" if len(decimals) == 1 else text


if __name__ == "__main__":
    sys.exit(_main())

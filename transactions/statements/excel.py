"""Excel workbooks (.xlsx, .xls), converted to CSV sheet by sheet.

- Cells become what Excel displays: whole dates without a time, numbers with the fifteen digits that Excel keeps
  (0.1 + 0.2 is 0.3), an amount of dollars with its cents. The results of formulas are read; formulas are not run.
- Row numbers are those of the sheet: blank rows stay.
- A workbook is read whole, in a separate process with limits on memory and time: a few bytes can describe a cell a
  million rows down, or crash the parser. A hostile file ends that process and nothing else.
"""

import csv
import io
import resource
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

from transactions.errors import StatementError

EXCEL_MAX_BYTES: Final = 20_000_000
CSV_MAX_BYTES: Final = 64_000_000
MAX_MEMORY: Final = 1 << 30
MAX_SECONDS: Final = 60
_MAX_SHEETS: Final = 10
_XLSX, _XLS = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
# Exit codes of the child process.
_PROTECTED, _TOO_LARGE, _UNREADABLE = 3, 4, 5
_REASONS: Final = {
    _PROTECTED: "The workbook is protected by a password.",
    _TOO_LARGE: "The workbook is too large when it is unpacked; use CSV.",
}
_DAMAGED: Final = "The workbook cannot be read. Save it again, or as CSV."


def is_workbook(file: BinaryIO) -> bool:
    """Whether the content is that of a workbook."""
    file.seek(0)
    head = file.read(4)
    if head == _XLS:
        return True
    if head != _XLSX:
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def sheets_as_csv(file: BinaryIO) -> list[BinaryIO]:
    """Return the visible sheets that are not empty, each as a CSV file in memory. Raises StatementError."""
    if file.seek(0, io.SEEK_END) > EXCEL_MAX_BYTES:
        raise StatementError(f"A workbook may have at most {EXCEL_MAX_BYTES // 1_000_000} MB; use CSV for more.")
    file.seek(0)
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=file.read(),
            capture_output=True,
            timeout=2 * MAX_SECONDS,
            check=False,
            cwd=Path(__file__).resolve().parent.parent.parent,
        )
    except subprocess.TimeoutExpired as error:
        raise StatementError(_REASONS[_TOO_LARGE]) from error
    if done.returncode:
        raise StatementError(_REASONS.get(done.returncode, _DAMAGED))
    output, sheets = io.BytesIO(done.stdout), list[BinaryIO]()
    while size := output.readline():
        sheets.append(io.BytesIO(output.read(int(size))))
    return sheets


# --- The child process --------------------------------------------------------------------------------------------
def _main() -> int:
    """Convert the workbook on standard input; write for each sheet a line with its size in bytes, then its CSV."""
    from python_calamine import CalamineError, PasswordError  # noqa: PLC0415  # only the child process needs it

    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    remaining = CSV_MAX_BYTES
    try:
        for sheet in _sheets(io.BytesIO(sys.stdin.buffer.read())):
            content = _as_csv(sheet)
            remaining -= len(content)
            if remaining < 0:
                return _TOO_LARGE
            sys.stdout.buffer.write(b"%d\n" % len(content) + content)
    except PasswordError:
        return _PROTECTED
    except MemoryError:
        return _TOO_LARGE
    except (CalamineError, OSError, ValueError):
        return _UNREADABLE
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
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    if isinstance(value, (date, time)):
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

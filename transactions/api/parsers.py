"""Request bodies with purchases: uploaded files, raw statement files, and JSON lists converted to CSV.

A JSON list becomes a CSV file so that both take the same path: same rules, same report of invalid rows, same
detection of duplicates. Row numbers of a list count like those of a file: the heading is row 1, the first item row 2.
"""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import IO, Any, ClassVar

from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser, DataAndFiles
from rest_framework.request import Request

from kamioi_site.numbers import parse_decimal
from transactions.api.serializers import StatementUploadInput
from transactions.statements.evidence import ANSWER_KEYS, CONFIRM

_HEADINGS = ("Date", "Merchant", "Debit", "Credit", "Category", "Description", "Reference")


class StatementParser(BaseParser):
    """Parses a body that is one CSV file, spooled to disk."""

    media_type = "text/csv"
    filename: ClassVar[str] = "statement.csv"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> "DataAndFiles[Any, Any]":
        """Return the body as the form field `file`."""
        file = TemporaryUploadedFile(self.filename, media_type or self.media_type, 0, None)
        try:
            shutil.copyfileobj(stream, file)
        except OSError:
            with contextlib.suppress(OSError):
                file.close()
            raise
        file.size = file.tell()
        file.seek(0)
        return DataAndFiles({}, {"file": file})


class OfxParser(StatementParser):
    """Parses a body that is one OFX file."""

    media_type = "application/x-ofx"
    filename = "statement.ofx"


class QfxParser(StatementParser):
    """Parses a body that is one QFX file."""

    media_type = "application/vnd.intu.qfx"
    filename = "statement.qfx"


def uploaded_file(request: Request, *, missing: str) -> UploadedFile:
    """Return the form field `file`, or raise ValidationError: `missing` if there is none."""
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        raise ValidationError({"file": [missing]})
    if not file.size:
        file.close()
        raise ValidationError({"file": ["The file is empty."]})
    return file


@dataclass(frozen=True, slots=True)
class StatementOptions:
    """How a statement is imported: answers to questions, the account, and whether nothing is stored."""

    answers: dict[str, str]
    account: str
    dry_run: bool


def statement_options(request: Request) -> StatementOptions:
    """Return the options of an upload, from the form or the query string."""
    given = request.data if isinstance(request.data, Mapping) else {}
    keys = (*ANSWER_KEYS, CONFIRM, "account", "dry_run")
    fields = {key: given.get(key) or request.query_params.get(key) for key in keys}
    options = StatementUploadInput(data={key: value for key, value in fields.items() if value})
    options.is_valid(raise_exception=True)
    answers = dict(options.validated_data)
    return StatementOptions(account=answers.pop("account", ""), dry_run=answers.pop("dry_run", False), answers=answers)


def csv_of_items(items: Sequence[Any]) -> bytes:
    """Convert a JSON list of purchases to CSV: `amount` > 0 is money spent, < 0 a refund.

    An invalid item (not an object, not a number) is written as it is, so that the reader reports it with its row.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADINGS)
    writer.writerows(_cells(item) for item in items)
    return text.getvalue().encode()


def _cells(item: Any) -> list[str]:
    cells = [""] * len(_HEADINGS)
    if isinstance(item, dict):
        debit, credit = _debit_credit(item.get("amount"))
        texts = (_cell(item.get(name)) for name in ("category", "description", "reference"))
        cells = [_cell(item.get("date")), _cell(item.get("merchant")), debit, credit, *texts]
    if not any(cells):  # the reader would skip a blank row silently
        cells[0] = _single_line(json.dumps(item, ensure_ascii=False))
    return cells


def _debit_credit(value: Any) -> tuple[str, str]:
    """Return the two columns with plain digits; for anything but dollars, text that the reader refuses."""
    if value is None:
        return "", ""
    try:
        amount = parse_decimal(str(value))
    except ValueError:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or abs(amount.adjusted()) > 15:
        return _single_line(json.dumps(value)), ""
    # Three decimals could be read as European thousands; a fourth makes it an unambiguous, refused fraction.
    places = max(2, -int(amount.as_tuple().exponent))
    digits = f"{abs(amount):.{4 if places == 3 else places}f}"
    return ("", digits) if amount < 0 else (digits, "")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return _single_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _single_line(text: str) -> str:
    return " ".join(text.split())

"""Bodies of `POST /api/transactions/bulk` on their way to the statement reader.

A file arrives as a form field or as the whole body; a JSON list is written as a CSV file, so that every way in has
the same rules, the same report of bad rows and the same protection against doubles. Row numbers of a list count like
those of a file: the heading is row 1, the first item row 2.
"""

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import IO, Any, ClassVar

from django.core.files.uploadedfile import TemporaryUploadedFile
from rest_framework.parsers import BaseParser, DataAndFiles

_HEADINGS = ("Date", "Merchant", "Debit", "Credit", "Category", "Description", "Reference")


class StatementParser(BaseParser):
    """A whole body that is one statement file, kept on disk while it is read."""

    media_type = "text/csv"
    filename: ClassVar[str] = "statement.csv"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> "DataAndFiles[Any, Any]":
        """The body as the form field `file`."""
        file = TemporaryUploadedFile(self.filename, media_type or self.media_type, 0, None)
        shutil.copyfileobj(stream, file)
        file.size = file.tell()
        file.seek(0)
        return DataAndFiles({}, {"file": file})


class OfxParser(StatementParser):
    """A whole body that is one OFX file."""

    media_type = "application/x-ofx"
    filename = "statement.ofx"


class QfxParser(StatementParser):
    """A whole body that is one QFX file."""

    media_type = "application/vnd.intu.qfx"
    filename = "statement.qfx"


def csv_of_items(items: Sequence[Any]) -> bytes:
    """A JSON list of purchases as a statement: `amount` > 0 is money spent, < 0 a refund.

    What is not as it should be (no object, no number) is written as it came, so the reader reports it with its row.
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
        texts = (_text(item.get(name)) for name in ("category", "description", "reference"))
        cells = [_text(item.get("date")), _text(item.get("merchant")), debit, credit, *texts]
    if not any(cells):  # a blank row would be passed over without a word
        cells[0] = _one_line(json.dumps(item, ensure_ascii=False))
    return cells


def _debit_credit(value: Any) -> tuple[str, str]:
    """The amount in its column, as plain digits; anything but a number of dollars in a form the reader refuses."""
    if value is None:
        return "", ""
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if isinstance(value, bool) or not amount.is_finite() or abs(amount.adjusted()) > 15:
        return _one_line(json.dumps(value)), ""
    # Three decimals could be read as European thousands; a fourth one makes it a plain, refused, fraction.
    places = max(2, -int(amount.as_tuple().exponent))
    digits = f"{abs(amount):.{4 if places == 3 else places}f}"
    return ("", digits) if amount < 0 else (digits, "")


def _text(value: Any) -> str:
    if value is None:
        return ""
    return _one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _one_line(text: str) -> str:
    return " ".join(text.split())

"""OFX and QFX statements, version 1 (SGML) and 2 (XML)."""

import io
import logging
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, BinaryIO, Final
from xml.sax.saxutils import unescape  # replaces entities in a string, parses nothing

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError
from transactions.statements.text import text_chunks
from transactions.statements.values import (
    DESCRIPTION_LENGTH,
    MERCHANT_LENGTH,
    REFERENCE_LENGTH,
    StatementRow,
    UnreadableFieldError,
    as_csv,
    check_date_range,
    parse_amount,
    shorten,
)

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

# One line per STMTTRN at INFO is noise.
logging.getLogger("ofxtools.Parser").setLevel(logging.WARNING)

OFX_MAX_BYTES: Final = 50_000_000
_MAX_RECORD: Final = 20_000  # characters of one STMTTRN
_START = re.compile(
    r"\s*(?:<\?xml\b[^>]*>\s*)?(?:<!--.*?-->\s*)?(?:OFXHEADER\b|<\?OFX\b|<OFX>)", re.DOTALL | re.IGNORECASE
)
_RECORD = re.compile(r"<STMTTRN>(.*?)(?=</STMTTRN>|<STMTTRN>|</BANKTRANLIST>|</OFX>|\Z)", re.DOTALL)
_CURRENCY = re.compile(r"<CURDEF>\s*([A-Za-z]{3})")
_ENTITIES: Final = {"&nbsp;": " ", "&apos;": "'", "&quot;": '"'}


def is_ofx(text: str) -> bool:
    return _START.match(text) is not None


class OfxStatement:
    """An OFX file. Each STMTTRN is parsed separately, so that a bad one costs one row and not the document."""

    columns: dict[str, str] = {
        "date": "DTPOSTED",
        "merchant": "NAME",
        "amount": "TRNAMT",
        "description": "MEMO",
        "reference": "FITID",
    }
    delimiter = ""
    date_order = "year first"
    spending = "negative amounts are money spent"

    def __init__(self, file: BinaryIO, encoding: str, today: date) -> None:
        self.encoding = encoding
        self.today = today
        if file.seek(0, io.SEEK_END) > OFX_MAX_BYTES:
            raise StatementError(f"An OFX file may have at most {OFX_MAX_BYTES // 1_000_000} MB; use CSV for more.")
        self.text = "".join(text_chunks(file, encoding))
        currency = _CURRENCY.search(self.text)
        if currency and currency[1].upper() != "USD":
            raise StatementError(f"The statement is in {currency[1].upper()}, not US dollars.")
        if "<STMTTRN>" not in self.text and "<BANKTRANLIST" not in self.text:
            raise StatementError("The OFX file has no list of transactions.")

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Yield every STMTTRN of the file."""
        for row_number, record in enumerate(_RECORD.finditer(self.text), start=1):
            fields: dict[str, str] = {}
            try:
                fields = _parse_record(record[1])
                yield self._row(row_number, fields)
            except UnreadableFieldError as error:
                raw = [fields.get(name, "") for name in self.columns.values()] if fields else [record[1].strip()]
                yield RowError(row_number, error.field, error.reason, as_csv(raw))

    def _row(self, row_number: int, fields: dict[str, str]) -> StatementRow:
        name, memo = fields.get("NAME", ""), fields.get("MEMO", "")
        if not fields.get("TRNAMT"):
            raise UnreadableFieldError("amount", "the amount is missing")
        # OFX allows a decimal comma and no thousands separators.
        value, _ = parse_amount(fields["TRNAMT"], european="," in fields["TRNAMT"])
        when = self._date(fields.get("DTPOSTED", ""))
        if not value:
            raise UnreadableFieldError("amount", "the amount is zero")
        if fields.get("CURSYM", "USD").upper() != "USD":
            raise UnreadableFieldError("currency", f"“{shorten(fields['CURSYM'])}” is not US dollars")
        if not (name or memo):
            raise UnreadableFieldError("merchant", "the name and the memo are missing")
        return StatementRow(
            row_number,
            when,
            (name or memo)[:MERCHANT_LENGTH],
            -value,
            "",
            (memo or name)[:DESCRIPTION_LENGTH],
            fields.get("FITID", "")[:REFERENCE_LENGTH],
        )

    def _date(self, text: str) -> datetime:
        from ofxtools.Types import DateTime  # noqa: PLC0415  # only few processes read OFX

        if not text:
            raise UnreadableFieldError("date", "the date is missing")
        try:
            parsed = DateTime().convert(text)
        except (ValueError, OverflowError) as error:  # OFXSpecError is a ValueError
            raise UnreadableFieldError("date", f"“{shorten(text)}” is not a date") from error
        return check_date_range(datetime.combine(parsed.date(), parsed.time(), UTC), self.today)


def _parse_record(record: str) -> dict[str, str]:
    """Return tag → text of one STMTTRN. PAYEE's NAME counts as NAME; ORIGCURRENCY is informational only."""
    from ofxtools.Parser import TreeBuilder  # noqa: PLC0415  # only few processes read OFX

    if len(record) > _MAX_RECORD:
        raise UnreadableFieldError("row", f"the record has more than {_MAX_RECORD:,} characters")
    builder = TreeBuilder()
    try:
        builder.feed(f"<STMTTRN>{record}</STMTTRN>")
        root: ET.Element = builder.close()
    except (SyntaxError, ValueError, AssertionError, IndexError, TypeError) as error:
        raise UnreadableFieldError("row", "the record is not well-formed OFX") from error
    fields: dict[str, str] = {}
    for element in root.iter():
        if element.tag == "CURSYM" and root.find(".//ORIGCURRENCY/CURSYM") is element:
            continue
        if element.text:
            fields.setdefault(element.tag, " ".join(unescape(element.text, _ENTITIES).split()))
    return fields

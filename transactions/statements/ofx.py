"""OFX and QFX statements, version 1 (SGML) and 2 (XML).

- Tags are found by name, in any case. SGML leaves out the end tags of fields; banks do so in XML too.
- The content decides the encoding; the charset in the header is often wrong. Declarations are skipped: no DTD is read,
  and only the standard entities and character references are replaced.
- `DTPOSTED` is converted to UTC unless that changes the day: the day that the bank wrote counts.
- A hold is rejected with its reason: the purchase itself is another record.
- A record that another one of the file corrects or deletes is rejected. The correction itself is a row that names the
  record it corrects, because that may be in an earlier file.
"""

import html
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import BinaryIO, Final

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError
from transactions.statements.accounts import OTHER, AccountHint, account_of_text, kind_of
from transactions.statements.evidence import Question
from transactions.statements.row_classes import TRNTYPE_CLASSES, excluded_class
from transactions.statements.text import text_chunks
from transactions.statements.values import (
    DESCRIPTION_LENGTH,
    MERCHANT_LENGTH,
    REFERENCE_LENGTH,
    Correction,
    StatementRow,
    UnreadableFieldError,
    as_csv,
    check_date_range,
    parse_amount,
    shorten,
)

OFX_MAX_BYTES: Final = 50_000_000
_MAX_RECORD: Final = 20_000  # characters of one STMTTRN
_MAX_DEPTH: Final = 50  # empty fields without an end tag count
_MALFORMED: Final = "the record is not well-formed OFX"
_START = re.compile(r"\s*(?:OFXHEADER\b|<OFX>|<[?!].{0,4000}?<(?:\?OFX\b|OFX>))", re.DOTALL | re.IGNORECASE)
# What divides a file into statements and their records.
_MARK = re.compile(
    r"<(?P<close>/?)(?P<tag>STMTTRN|BANKTRANLIST|(?:CC)?STMTRS|CURDEF|BANKID|ACCTID|ACCTTYPE|OFX)\s*>"
    r"(?P<text>[^<\r\n]*)",
    re.IGNORECASE,
)
_ACCOUNT_TAGS: Final = {"CURDEF", "BANKID", "ACCTID", "ACCTTYPE"}
# A CDATA section ends before the next one, so that unclosed ones are not searched again and again.
_TAG = re.compile(
    r"<(?:(?P<close>/?)(?P<tag>[A-Za-z][A-Za-z0-9_.:-]*)\s*(?P<empty>/?)>|"
    r"!\[CDATA\[(?P<cdata>(?:[^\]<]|\](?!\]>)|<(?!!\[CDATA\[))*+)\]\]>)"
)
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")
_DATE = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})(?:([0-9]{2})([0-9]{2})(?:([0-9]{2})(?:\.[0-9]*)?)?)?\s*"
    r"(?:\[(?P<hours>[-+]?[0-9]{1,2})?(?:\.(?P<minutes>[0-9]{2}))?[^\]]*\]?)?"
)
_SPENT: Final = frozenset("DEBIT POS ATM CHECK PAYMENT FEE SRVCHG CASH DIRECTDEBIT REPEATPMT".split())
_RECEIVED: Final = frozenset("CREDIT DEP DIRECTDEP INT DIV".split())
_CLEAR: Final = frozenset("DEBIT POS CREDIT DEP DIRECTDEP".split())
# Parts of a record that repeat its field names for something else.
_OTHER_PARTS: Final = {"ORIGCURRENCY", "BANKACCTTO", "CCACCTTO", "IMAGEDATA"}


@dataclass(frozen=True, slots=True)
class _Account:
    """The account of a statement: ACCTID, BANKID and CURDEF as the file writes them."""

    number: str = ""
    bank: str = ""
    currency: str = "USD"
    kind: str = OTHER

    def with_field(self, tag: str, text: str) -> "_Account":
        if tag == "ACCTTYPE":
            return replace(self, kind=kind_of(text))
        if tag == "CURDEF":
            return replace(self, currency=text.upper() or "USD")
        return replace(self, number=text) if tag == "ACCTID" else replace(self, bank=text)

    @property
    def hint(self) -> AccountHint:
        hint = account_of_text(self.number, kind=self.kind, currency=self.currency[:3])
        return replace(hint, number=f"{self.bank}:{hint.number}") if hint.number and self.bank else hint


@dataclass(frozen=True, slots=True)
class _Record:
    """The text of one STMTTRN and the account it belongs to."""

    text: str
    account: _Account


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
    questions: list[Question] = []
    evidence: dict[str, list[str]] = {}
    layout_digest = "ofx"
    has_unique_references = True

    def __init__(self, file: BinaryIO, encoding: str, today: date) -> None:
        self.encoding = encoding
        self.today = today
        if file.seek(0, io.SEEK_END) > OFX_MAX_BYTES:
            raise StatementError(f"An OFX file may have at most {OFX_MAX_BYTES // 1_000_000} MB; use CSV for more.")
        self.text = "".join(text_chunks(file, encoding))
        marks = [(mark["tag"].upper(), mark["text"]) for mark in _MARK.finditer(self.text) if not mark["close"]]
        currencies = [_clean(text).upper() for tag, text in marks if tag == "CURDEF" and _clean(text)]
        if currencies and "USD" not in currencies:
            raise StatementError(f"The statement is in {shorten(currencies[0])}, not US dollars.")
        if not any(tag in ("STMTTRN", "BANKTRANLIST") for tag, _ in marks):
            raise StatementError("The OFX file has no list of transactions.")

        # ACCTID → account, of the records.
        self.accounts: dict[str, AccountHint] = {}
        # (ACCTID, FITID) of a corrected record → the row that corrects it.
        self.corrected: dict[tuple[str, str], int] = {}
        self.references: set[tuple[str, str]] = set()
        self.unsigned = False
        self._survey()

    def _survey(self) -> None:
        """Find the accounts, the corrections, and whether the amounts are signed as OFX requires.

        Only TRNTYPE shows which way the money went where no amount has a minus though money was spent, and where the
        minus is on every credit and on no debit.
        """
        has_corrections = "CORRECTFITID" in self.text.upper()
        is_spent = is_signed = False
        clear: set[tuple[bool, bool]] = set()  # whether a debit, whether with a minus
        for number, record in enumerate(self._records(), start=1):
            account = record.account.number
            if account not in self.accounts:
                self.accounts[account] = record.account.hint
            if (True, True) in clear and not has_corrections:
                continue
            try:
                fields = _fields(record.text)
            except UnreadableFieldError:
                continue
            kind, negative = fields.get("TRNTYPE", "").upper(), fields.get("TRNAMT", "").lstrip().startswith(("-", "("))
            is_signed = is_signed or negative
            is_spent = is_spent or kind in _SPENT
            if kind in _CLEAR:
                clear.add((kind in _SPENT, negative))
            if has_corrections:
                self.references.add((account, fields.get("FITID", "")))
                if "CORRECTFITID" in fields:
                    self.corrected[account, fields["CORRECTFITID"]] = number
        self.unsigned = (is_spent and not is_signed) or clear == {(True, False), (False, True)}

    def rows(self) -> Iterator[StatementRow | RowError]:
        """Yield every STMTTRN of the file."""
        for row_number, record in enumerate(self._records(), start=1):
            fields: dict[str, str] = {}
            try:
                fields = _fields(record.text)
                yield self._row(row_number, record, fields)
            except UnreadableFieldError as error:
                raw = [fields.get(name, "") for name in self.columns.values()] if fields else [record.text.strip()]
                yield RowError(row_number, error.field, error.reason, as_csv(raw))

    def _records(self) -> Iterator[_Record]:
        account, start = _Account(), -1
        for mark in _MARK.finditer(self.text):
            tag = mark["tag"].upper()
            if tag in _ACCOUNT_TAGS:
                if start < 0 and not mark["close"]:
                    account = account.with_field(tag, _clean(mark["text"]))
                continue
            if start >= 0:
                yield _Record(self.text[start : mark.start()], account)
                start = -1
            if tag == "STMTTRN" and not mark["close"]:
                start = mark.start("text")
            elif tag.endswith("STMTRS"):
                account = _Account(kind="card" if tag.startswith("CC") else OTHER)
        if start >= 0:
            yield _Record(self.text[start:], account)

    def _row(self, row_number: int, record: _Record, fields: dict[str, str]) -> StatementRow:
        account = record.account
        if account.currency != "USD":
            raise UnreadableFieldError("currency", f"the statement is in {shorten(account.currency)}, not US dollars")
        if fields.get("TRNTYPE", "").upper() == "HOLD":
            raise UnreadableFieldError("type", "the purchase is only on hold; it is listed again when it is posted")
        corrected_by = self.corrected.get((account.number, fields.get("FITID", "")), row_number)
        if corrected_by != row_number:
            raise UnreadableFieldError("reference", f"replaced or deleted by the bank in row {corrected_by}")
        name, memo = fields.get("NAME", ""), fields.get("MEMO", "")
        if not fields.get("TRNAMT"):
            raise UnreadableFieldError("amount", "the amount is missing")
        # OFX allows a decimal comma and no thousands separators.
        value, _ = parse_amount(fields["TRNAMT"], european="," in fields["TRNAMT"])
        when = self._date(fields.get("DTPOSTED", ""))
        if not value:
            raise UnreadableFieldError("amount", "the amount is zero")
        trntype = fields.get("TRNTYPE", "").upper()
        if self.unsigned:
            if trntype not in _SPENT | _RECEIVED:
                raise UnreadableFieldError(
                    "type", f"“{shorten(trntype)}” does not say whether money was spent or received"
                )
            value = -abs(value) if trntype in _SPENT else abs(value)
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
            account.number[:REFERENCE_LENGTH],
            excluded_class(f"{name} {memo}", "", "", is_spending=value < 0) or TRNTYPE_CLASSES.get(trntype, ""),
            self._correction(record, fields),
        )

    def _correction(self, record: _Record, fields: dict[str, str]) -> Correction | None:
        if "CORRECTFITID" not in fields:
            return None
        corrected = fields["CORRECTFITID"]
        is_deletion = fields.get("CORRECTACTION", "").upper() == "DELETE"
        return Correction(
            corrected[:REFERENCE_LENGTH], is_deletion, (record.account.number, corrected) in self.references
        )

    def _date(self, text: str) -> datetime:
        if not text:
            raise UnreadableFieldError("date", "the date is missing")
        match = _DATE.fullmatch(text)
        try:
            if match is None:
                raise ValueError(text)
            year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
            written = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
            offset = timedelta(hours=int(match["hours"] or 0), minutes=int(match["minutes"] or 0))
            in_utc = written - offset
        except (ValueError, OverflowError) as error:  # February 30th; an offset that leaves the calendar
            raise UnreadableFieldError("date", f"“{shorten(text)}” is not a date") from error
        return check_date_range(in_utc if in_utc.date() == written.date() else written, self.today)


def _fields(record: str) -> dict[str, str]:
    """Return tag → text of one STMTTRN, the first of each. PAYEE's NAME counts as NAME.

    Raises UnreadableFieldError for an end tag that closes nothing and for text outside of a field.
    """
    if len(record) > _MAX_RECORD:
        raise UnreadableFieldError("row", f"the record has more than {_MAX_RECORD:,} characters")
    fields: dict[str, str] = {}
    open_tags: list[str] = []  # tags without text so far: parts of the record, or empty fields
    field, text, start = "", "", 0

    def end_field() -> None:
        if value := _clean(text):
            if not field:
                raise UnreadableFieldError("row", _MALFORMED)
            open_tags.pop()
            if not _OTHER_PARTS.intersection(open_tags):
                fields.setdefault(field, value)

    for match in _TAG.finditer(record):
        text += record[start : match.start()]
        start = match.end()
        if match["cdata"] is not None:
            text += html.escape(match["cdata"])
            continue
        tag, has_text = match["tag"].upper(), bool(_clean(text))
        end_field()
        if match["close"]:
            if not (has_text and tag == field):
                if tag not in open_tags:
                    raise UnreadableFieldError("row", _MALFORMED)
                del open_tags[open_tags.index(tag) :]
            field = ""
        elif match["empty"]:
            field = ""
        else:
            open_tags.append(tag)
            field = tag
            if len(open_tags) > _MAX_DEPTH:
                raise UnreadableFieldError("row", _MALFORMED)
        text = ""
    text += record[start:]
    end_field()
    return fields


def _clean(text: str) -> str:
    return " ".join(_ENTITY.sub(lambda match: html.unescape(match[0]), text).split())

"""Reader of mapping files: CSV with the legacy system's headings and their variants, in any common encoding."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, islice
from typing import BinaryIO, Final

from kamioi_site.errors import KamioiError
from kamioi_site.imports.rows import RowError
from kamioi_site.numbers import parse_decimal
from transactions.statements.text import encoding_of, text_lines

_HEADINGS: Final[dict[str, frozenset[str]]] = {
    "merchant": frozenset({"merchant", "merchantname", "descriptor", "name"}),
    "ticker": frozenset({"ticker", "tickersymbol", "symbol"}),
    "category": frozenset({"category"}),
    "company": frozenset({"company", "companyname"}),
    "confidence": frozenset({"confidence", "score"}),
    "notes": frozenset({"notes", "note", "reason"}),
}
_TICKER = re.compile(r"[A-Z][A-Z0-9]{0,5}(?:\.[A-Z]{1,2})?")
_PLACES = Decimal("0.0001")


class MappingFileError(KamioiError):
    """The file cannot be read as a list of mappings."""


@dataclass(frozen=True, slots=True)
class MappingRow:
    """One row; `confidence` is 0 to 1."""

    row_number: int
    merchant: str
    ticker: str
    category: str
    company: str
    confidence: Decimal
    notes: str
    raw: str


@dataclass(frozen=True, slots=True)
class MappingPreview:
    """How a file is interpreted: our column → its heading, and the first rows, good and bad."""

    columns: dict[str, str]
    encoding: str
    rows: list[MappingRow]
    errors: list[RowError]


def read_mappings(file: BinaryIO) -> Iterator[MappingRow | RowError]:
    """Return the rows in order, numbered from 2 (the header is row 1). Raises MappingFileError."""
    _, _, items = _open(file)
    return items


def preview_mappings(file: BinaryIO, *, limit: int = 20) -> MappingPreview:
    """Return the first rows as they would be imported. Raises MappingFileError."""
    columns, encoding, items = _open(file)
    first = list(islice(items, limit))
    return MappingPreview(
        columns=columns,
        encoding=encoding,
        rows=[item for item in first if isinstance(item, MappingRow)],
        errors=[item for item in first if isinstance(item, RowError)],
    )


def _open(file: BinaryIO) -> tuple[dict[str, str], str, Iterator[MappingRow | RowError]]:
    encoding = encoding_of(file)
    lines = text_lines(file, encoding)
    head = next(lines, "")
    delimiter = max(",;\t|", key=head.count)
    records = csv.reader(chain([head], lines), delimiter=delimiter)
    try:
        headings = next(records)
    except (StopIteration, csv.Error) as error:
        raise MappingFileError("The file has no header.") from error
    positions: dict[str, int] = {}
    for position, heading in enumerate(headings):
        letters = re.sub(r"[^a-z]", "", heading.lower())
        for name, spellings in _HEADINGS.items():
            if letters in spellings:
                positions.setdefault(name, position)
    missing = [name for name in ("merchant", "ticker") if name not in positions]
    if missing:
        raise MappingFileError(
            f"There is no column for {' and '.join(missing)}. Found: {', '.join(headings[:20])[:300] or 'nothing'}. "
            "The first row must be a header such as “Merchant Name,Category,Ticker,Company Name,Confidence”."
        )
    columns = {name: headings[position].strip() for name, position in positions.items()}
    return columns, encoding, _items(records, positions)


def _items(records: Iterator[list[str]], positions: dict[str, int]) -> Iterator[MappingRow | RowError]:
    number = 1
    while True:
        number += 1
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            yield RowError(number, "row", f"not a CSV row: {error}", "")
            continue
        if any(cell.strip() for cell in cells):
            yield _parse_row(number, cells, positions)


def _parse_row(number: int, cells: list[str], positions: dict[str, int]) -> MappingRow | RowError:
    raw = ",".join(cells)[:2000]

    def cell(name: str) -> str:
        position = positions.get(name)
        return cells[position].strip() if position is not None and position < len(cells) else ""

    merchant, ticker = cell("merchant"), cell("ticker").upper().replace("/", ".").replace("-", ".")
    if not merchant:
        return RowError(number, "merchant", "is empty", raw)
    if len(merchant) > 255:
        return RowError(number, "merchant", f"has {len(merchant)} characters; at most 255", raw)
    if not ticker:
        return RowError(number, "ticker", "is empty", raw)
    if not _TICKER.fullmatch(ticker):
        return RowError(number, "ticker", f"“{ticker[:20]}” is not a valid ticker", raw)
    try:
        confidence = _parse_confidence(cell("confidence"))
    except ValueError as error:
        return RowError(number, "confidence", str(error), raw)
    return MappingRow(
        number, merchant, ticker, cell("category")[:100], cell("company")[:200], confidence, cell("notes")[:500], raw
    )


def _parse_confidence(text: str) -> Decimal:
    """Parse 0 to 1. A value above 1 is a percentage, as in the legacy system's files; an empty cell means certain."""
    if not text:
        return Decimal(1)
    try:
        value = parse_decimal(text.rstrip("% "))
    except ValueError as error:
        raise ValueError(f"“{text[:20]}” is not a number") from error
    if value > 1 or text.endswith("%"):
        value /= 100
    if not (value.is_finite() and 0 <= value <= 1):
        raise ValueError(f"“{text[:20]}” is not between 0 and 100")
    return value.quantize(_PLACES)

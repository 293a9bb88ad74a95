"""Workbooks: read in a process of their own, a few at once, and never unpacked without a limit."""

import io
import subprocess
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.transactions.statements.helpers import FILES, TODAY
from transactions.errors import StatementError
from transactions.statements import excel
from transactions.statements.excel import _number
from transactions.statements.reader import parse_statement


def _workbook(cells: str) -> io.BytesIO:
    """Build the smallest workbook with one sheet."""
    xml, office = '<?xml version="1.0"?>', "http://schemas.openxmlformats.org"
    main, relations = f"{office}/spreadsheetml/2006/main", f"{office}/package/2006/relationships"
    kind = f"{office}/officeDocument/2006/relationships"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml",
            f'{xml}<workbook xmlns="{main}" xmlns:r="{kind}">'
            '<sheets><sheet name="A" sheetId="1" r:id="rId1"/></sheets></workbook>',
        )
        archive.writestr(
            "_rels/.rels",
            f'{xml}<Relationships xmlns="{relations}"><Relationship Id="rId1" Type="{kind}/officeDocument" '
            'Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'{xml}<Relationships xmlns="{relations}"><Relationship Id="rId1" Type="{kind}/worksheet" '
            'Target="worksheets/sheet1.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/worksheets/sheet1.xml", f'{xml}<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>'
        )
    return file


def _text_row(*texts: str) -> str:
    return "<row>" + "".join(f'<c t="str"><v>{text}</v></c>' for text in texts) + "</row>"


def test_a_workbook_with_a_cell_in_the_last_corner_ends_only_its_own_process():
    small = _text_row("Date", "Merchant", "Amount") + _text_row("2025-01-04", "SHOP", "-5.00")
    assert [row.merchant for row in parse_statement(_workbook(small), today=TODAY)] == ["SHOP"]
    corner = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    with pytest.raises(StatementError, match="cannot be read"):
        parse_statement(_workbook(corner), today=TODAY)


def test_a_workbook_that_unpacks_to_too_much_is_refused_before_it_is_parsed():
    bomb = _workbook(" " * (excel.UNPACKED_MAX_BYTES + 1))
    assert bomb.seek(0, io.SEEK_END) < 1_000_000
    with pytest.raises(StatementError, match="too large when it is unpacked"):
        parse_statement(bomb, today=TODAY)


def test_a_workbook_that_declares_a_wrong_size_is_refused():
    data = _workbook(" " * 5_000_000).getvalue()
    name = b"xl/worksheets/sheet1.xml"
    entry = data.rindex(name) - 46  # in the archive's directory; the size is at byte 24
    size = int.from_bytes(data[entry + 24 : entry + 28], "little")
    assert size > 5_000_000
    lie = data[: entry + 24] + (100).to_bytes(4, "little") + data[entry + 28 :]
    with pytest.raises(StatementError, match="cannot be read"):
        parse_statement(io.BytesIO(lie), today=TODAY)


def test_a_large_archive_is_opened_only_in_the_process_of_its_own():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photo", bytes(1_500_000))
    with pytest.raises(StatementError, match="ZIP archive"):
        parse_statement(file, today=TODAY)


def test_workbooks_are_read_a_few_at_once(monkeypatch):
    running, most, lock, run = 0, 0, threading.Lock(), subprocess.run

    def count(*arguments, **options):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return run(*arguments, **options)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(excel.subprocess, "run", count)
    book = _workbook(_text_row("Date", "Merchant", "Amount") + _text_row("2025-01-04", "SHOP", "-5.00")).getvalue()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: list(parse_statement(io.BytesIO(book), today=TODAY)), range(6)))
    assert [len(items) for items in found] == [1] * 6
    assert most == excel.MAX_AT_ONCE


def test_an_empty_or_damaged_workbook_is_reported():
    with pytest.raises(StatementError, match="empty"):
        parse_statement(_workbook('<row r="1"><c r="A1" t="str"><v></v></c></row>'), today=TODAY)
    data = (FILES / "business.xls").read_bytes()
    with pytest.raises(StatementError, match="cannot be read"):
        parse_statement(io.BytesIO(data[:2000]), today=TODAY)


def test_numbers_of_a_workbook_are_read_as_displayed():
    shown = [_number(value) for value in (0.1 + 0.2, 4.5, 20.0, 1234.567, 123456789012.0, 1e300)]
    assert shown == ["0.30", "4.50", "20", "1234.567", "123456789012", "1e+300"]

"""Statements: sample files of banks, unreadable files and random input."""

import io
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kamioi_site.imports.rows import RowError
from tests.transactions.statements.helpers import FILES, TODAY, errors, read, read_file, rows
from transactions.errors import StatementError
from transactions.statements import ofx
from transactions.statements.reader import parse_statement, preview
from transactions.statements.values import StatementRow

# --- Files as banks write them ----------------------------------------------------------------------------------------

# file, the day, merchant and amount of each good row, (row number, field) of each bad one
BANKS = [
    (
        "chase_credit.csv",
        [
            ("2025-01-14", "STARBUCKS STORE 12345", "6.45"),
            ("2025-01-13", "AMZN Mktp US*RT4LL0QK3", "1249.99"),
            ("2025-01-12", "NIKE.COM", "-35.00"),
            ("2025-01-10", "Payment Thank You-Mobile", "-500.00"),
        ],
        [],
    ),
    (
        "chase_checking.csv",
        [
            ("2025-01-15", "TARGET        00012345 AUSTIN TX     01/14", "52.10"),
            ("2025-01-15", "ACME INC PAYROLL PPD ID: 1234567890", "-2500.00"),
            ("2025-01-13", "CHECK 1001", "200.00"),
        ],
        [],
    ),
    (
        "bank_of_america_checking.csv",
        [
            ("2025-01-02", "COSTCO WHSE #0123 01/02 PURCHASE SEATTLE WA", "1249.99"),
            ("2025-01-03", "ACME INC DES:PAYROLL ID:XXXXX", "-2500.00"),
            ("2025-01-06", "NETFLIX.COM 01/05 PURCHASE", "5.00"),
        ],
        [(8, "row")],
    ),
    (
        "bank_of_america_card.csv",
        [
            ("2025-01-15", "WHOLEFDS #10245 AUSTIN TX", "84.27"),
            ("2025-01-16", "PAYMENT - THANK YOU", "-300.00"),
            ("2025-01-17", "SHELL OIL 57444", "41.00"),
        ],
        [],
    ),
    (
        "wells_fargo.csv",
        [
            ("2025-01-15", "STARBUCKS STORE 12345 AUSTIN TX", "5.75"),
            ("2025-01-14", "CHECK # 1017", "1204.00"),
            ("2025-01-13", "ACME INC PAYROLL", "-2500.00"),
        ],
        [],
    ),
    (
        "capital_one.csv",
        [
            ("2025-01-14", "MCDONALD'S F1234", "8.52"),
            ("2025-01-12", "CAPITAL ONE MOBILE PYMT", "-250.00"),
            ("2025-01-11", "LOWE'S #1234, INC", "1034.10"),
        ],
        [],
    ),
    (
        "capital_one_360.csv",
        [
            ("2025-01-14", "Debit Card Purchase - TRADER JOE S #452", "45.13"),
            ("2025-01-10", "Deposit from ACME INC PAYROLL", "-1000.00"),
        ],
        [],
    ),
    (
        "citi.csv",
        [
            ("2025-01-14", "UBER   *TRIP HELP.UBER.COM CA", "18.40"),
            ("2025-01-12", "ONLINE PAYMENT, THANK YOU", "-400.00"),
        ],
        [],
    ),
    (
        "amex.csv",
        [
            ("2025-01-14", "DELTA AIR LINES", "420.20"),
            ("2025-01-13", "CVS PHARMACY", "12.07"),
            ("2025-01-12", "AUTOPAY PAYMENT - THANK YOU", "-250.00"),
        ],
        [],
    ),
    (
        "discover.csv",
        [
            ("2025-01-14", "WALMART.COM 8009666546 AR", "64.18"),
            ("2025-01-13", "INTERNET PAYMENT - THANK YOU", "-100.00"),
            ("2025-01-12", "EXXONMOBIL 4811", "38.80"),
        ],
        [],
    ),
    (
        "us_bank.csv",
        [  # more deposits than purchases: the DEBIT and CREDIT column decides the meaning of the minus
            ("2025-01-14", "DEBIT PURCHASE -VISA SPOTIFY USA", "10.99"),
            ("2025-01-13", "ELECTRONIC DEPOSIT", "-1500.00"),
            ("2025-01-12", "ELECTRONIC DEPOSIT", "-20.00"),
        ],
        [],
    ),
    (
        "ally.csv",
        [
            ("2025-01-14", "HULU 877-8244858 CA", "25.00"),
            ("2025-01-13", "ACME INC PAYROLL", "-1000.00"),
            ("2025-01-12", "Interest Paid", "-1.25"),
        ],
        [],
    ),
    (
        "paypal.csv",
        [
            ("2025-01-14", "Etsy, Inc.", "1023.50"),
            ("2025-01-14", "Bank Deposit to PP Account", "-1023.50"),
            ("2025-01-11", "Steam Games", "19.99"),
        ],
        [(4, "currency")],
    ),
    (
        "legacy_sample.csv",
        [
            ("2025-01-15", "Amazon Purchase", "45.67"),
            ("2025-01-16", "Client Payment", "-1500.00"),
            ("2025-01-17", "Office Depot", "89.99"),
        ],
        [],
    ),
    (
        "european.csv",
        [
            ("2025-01-15", "Café Zürich", "1234.56"),
            ("2025-02-03", "H&M", "12.50"),
            ("2025-02-04", "Gehalt", "-2500.00"),
        ],
        [],
    ),
    (
        "excel_unicode.txt",
        [
            ("2025-01-15", "Peet’s Coffee", "4.50"),
            ("2025-01-16", "REI", "1250.00"),
            ("2025-01-17", "Refund Co", "-20.00"),
        ],
        [],
    ),
    (
        "quicken.qfx",
        [
            ("2025-01-15", "AT&T BILL PAYMENT", "6.45"),
            ("2025-01-16", "A NAME THAT IS LONGER THAN THE THIRTY-TWO CHARACTERS OF THE STANDARD", "1234.50"),
            ("2025-01-18", "REFUND NIKE.COM", "-25.00"),
        ],
        [(2, "date"), (4, "amount")],
    ),
    ("bank.ofx", [("2025-01-14", "Café du Monde", "18.40"), ("2025-01-15", "LONDON PUB", "25.00")], [(2, "currency")]),
    (
        "business.xlsx",
        [  # the first sheet is a summary, the second hidden, the third has a title and a blank row
            ("2025-01-04", "STARBUCKS #123", "4.50"),
            ("2025-01-05", "TARGET", "0.30"),
            ("2025-01-06", "=CMD", "1250.00"),
            ("2025-01-08", "REFUND STORE", "-20.00"),
        ],
        [(8, "amount")],
    ),
    (
        "business.xls",
        [
            ("2025-01-04", "STARBUCKS #123", "4.50"),
            ("2025-01-05", "TARGET", "0.30"),
            ("2025-01-06", "=CMD", "1250.00"),
            ("2025-01-08", "REFUND STORE", "-20.00"),
        ],
        [(5, "amount")],
    ),
    (
        "dirty.csv",
        [("2025-01-15", "Good Shop", "5.00"), ("2025-01-16", "After it", "6.00"), ("2025-01-16", "Short row", "7.00")],
        [
            (3, "date"),
            (4, "amount"),
            (5, "amount"),
            (6, "amount"),
            (7, "merchant"),
            (8, "date"),
            (9, "date"),
            (10, "date"),
            (11, "amount"),
            (12, "row"),
            (15, "row"),
            (18, "date"),
        ],
    ),
]


@pytest.mark.parametrize(("name", "good", "bad"), BANKS, ids=[name for name, _, _ in BANKS])
def test_a_sample_file_of_a_bank_is_read(name, good, bad):
    items = read_file(name)
    assert [(str(row.date.date()), row.merchant, str(row.amount)) for row in rows(items)] == good
    assert [(row.row_number, row.field) for row in errors(items)] == bad


def test_every_sample_file_is_in_the_table():
    assert {file.name for file in FILES.iterdir() if file.is_file()} == {name for name, _, _ in BANKS}


def test_category_description_and_reference_are_kept():
    first = rows(read_file("amex.csv"))[0]
    assert (first.category, first.description, first.reference) == (
        "Travel-Airline",
        "DELTA AIR LINES",
        "320250140123456789",
    )
    assert rows(read_file("us_bank.csv"))[1].description == "ACME INC"
    assert rows(read_file("quicken.qfx"))[0].reference == "2025011501"
    assert rows(read_file("quicken.qfx"))[0].description == "Wireless"


def test_a_time_with_a_zone_becomes_utc():
    assert rows(read_file("quicken.qfx"))[0].date == datetime(2025, 1, 15, 17, tzinfo=UTC)


def test_the_raw_row_is_stored_for_download():
    raw = {row.row_number: row.raw for row in errors(read_file("dirty.csv"))}
    assert raw[3] == "someday,Bad Date,-5.00,,"
    assert raw[12] == "01/15/2025,Acme,Inc,-5.00,Food,unquoted comma"
    assert raw[15] == '01/15/2025,"Never closed,-5.00,,'


def test_the_raw_row_has_at_most_2000_characters():
    [error] = read(f"Date,Merchant,Amount\nsomeday,{'x' * 9000},-1.00\n")
    assert len(error.raw) == 2000


# --- Files that cannot be read ----------------------------------------------------------------------------------------

BROKEN = [
    (b"", "empty"),
    (b"\n \r\n\n", "empty"),
    (b"\xef\xbb\xbf", "empty"),
    (b"\xff\xfe", "empty"),
    (b"PK\x03\x04" + bytes(range(256)), "ZIP archive"),
    (b"%PDF-1.7\n1 0 obj", "PDF"),
    (bytes(range(1, 32)) * 40, "text file"),
    (b"Date,Merchant,Balance\n01/15/2025,Shop,5.00\n", "Columns seen: Date, Merchant, Balance"),
    (b"When,Merchant,Amount\nlater,Shop,5.00\n", "No date column. Columns seen: When, Merchant, Amount"),
    (b"Date,Amount\n01/15/2025,5.00\n", "No merchant or description column. Columns seen: Date, Amount"),
    (b"," * 900_000 + b"\n", "No header found"),
    (b"hello world\nnothing here\n", "No header found"),
    (b"x" * 1_500_000, "not a statement"),
    (b"OFXHEADER:100\n<OFX></OFX>", "no list of transactions"),
    (b"OFXHEADER:100\n<OFX><CURDEF>EUR<BANKTRANLIST></BANKTRANLIST></OFX>", "EUR"),
]


@pytest.mark.parametrize(("data", "message"), BROKEN)
def test_the_reason_for_an_unreadable_file_is_reported(data, message):
    with pytest.raises(StatementError, match=message):
        parse_statement(io.BytesIO(data), today=TODAY)


def test_the_error_names_the_file():
    with pytest.raises(StatementError, match=r"^january\.csv: The file is empty"):
        parse_statement(io.BytesIO(b""), filename="january.csv")


def test_a_statement_without_transactions_is_not_an_error():
    assert read("Date,Merchant,Amount\n") == []
    assert read("OFXHEADER:100\n<OFX><CURDEF>USD<BANKTRANLIST></BANKTRANLIST></OFX>") == []


def test_an_ofx_file_over_the_limit_is_rejected(monkeypatch):
    monkeypatch.setattr(ofx, "OFX_MAX_BYTES", 1000)
    with pytest.raises(StatementError, match="use CSV"):
        read_file("quicken.qfx")


def test_an_unreadable_ofx_record_costs_one_row():
    text = (FILES / "quicken.qfx").read_text().replace("<MEMO>Wireless", "<MEMO>Wireless</NAME>stray")
    items = read(text)
    assert [row.row_number for row in rows(items)] == [3, 5]
    assert errors(items)[0].reason == "the record is not well-formed OFX"


def test_the_file_stays_open():
    file = io.BytesIO(b"Date,Merchant,Amount\n01/15/2025,Store,-5.00\n")
    list(parse_statement(file))
    assert not file.closed


# --- Random input -----------------------------------------------------------------------------------------------------

TOKENS = st.sampled_from(
    [
        b"Date,Merchant,Amount\n",
        b"Date;Payee;Debit;Credit\n",
        b"01/15/2025",
        b"20250115",
        b",",
        b";",
        b"\t",
        b'"',
        b"\n",
        b"\r",
        b"-5.00",
        b"1,234.56",
        b"(",
        b")",
        b"$",
        b"Shop",
        b"\0",
        b"\xff",
        b"\xe9",
        "é".encode(),
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"OFXHEADER:100\n",
        b"<OFX>",
        b"<STMTTRN>",
        b"</STMTTRN>",
        b"<TRNAMT>",
        b"<DTPOSTED>",
        b"<NAME>",
        b"<![CDATA[",
        b"]]>",
        b"<BANKTRANLIST>",
        b"[-5:EST]",
        b"[+:]",
        b"<",
        b">",
        b"&amp;",
        b"99999999",
        b"PM",
        b"+99:99",
        b"Jan 99, 2025 99:99",
    ]
)


def reads_or_refuses(data: bytes) -> None:
    try:
        items = read(data)
    except StatementError:
        return
    assert all(isinstance(row, StatementRow | RowError) for row in items)
    assert all(row.amount and row.merchant and row.date.tzinfo is UTC for row in rows(items))


@given(st.binary(max_size=600))
def test_random_bytes_raise_nothing_but_a_statement_error(data):
    reads_or_refuses(data)


@given(st.lists(TOKENS | st.binary(max_size=6), max_size=60))
@example([b"OFXHEADER:100\n", b"<STMTTRN>", b"<TRNAMT>5<NAME>a<DTPOSTED>20250115000060"])
def test_random_pieces_of_statements_raise_nothing_but_a_statement_error(pieces):
    reads_or_refuses(b"".join(pieces))
    reads_or_refuses(b"Date,Merchant,Amount,Memo\n" + b"".join(pieces))
    reads_or_refuses(b"OFXHEADER:100\n<OFX><BANKTRANLIST><STMTTRN>" + b"".join(pieces))


# --- Memory and preview -----------------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """A statement of a hundred thousand rows that is never in memory as a whole."""

    line = b"01/15/2025,Shop %06d,-%d.%02d,memo\n"

    def __init__(self, count: int) -> None:
        self.count, self.at = count, 0

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert (offset, whence) == (0, io.SEEK_SET)
        self.at = 0
        return 0

    def read(self, size: int = -1) -> bytes:
        header = b"Date,Merchant,Amount,Memo\n" if self.at == 0 else b""
        first, self.at = self.at, min(self.count, self.at + 5000)
        return header + b"".join(self.line % (at, at % 977 + 1, at % 100) for at in range(first, self.at))


def test_memory_does_not_grow_with_the_rows():
    tracemalloc.start()
    try:
        peaks = []
        for count in (20_000, 100_000):
            tracemalloc.reset_peak()
            assert sum(1 for _ in parse_statement(Endless(count), today=TODAY)) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert peaks[1] < 1.6 * peaks[0]


def test_a_preview_shows_how_the_file_is_understood():
    with (FILES / "european.csv").open("rb") as file:
        shown = preview(file, filename="european.csv", limit=2, today=TODAY)
    assert shown.columns == {"date": "Posting Date", "amount": "Amount", "merchant": "Payee", "description": "Memo"}
    assert (shown.encoding, shown.delimiter, shown.date_order) == ("cp1252", "semicolon", "day first")
    assert shown.spending == "negative amounts are money spent"
    assert [row.merchant for row in shown.rows] == ["Café Zürich", "H&M"]
    assert shown.errors == []


def test_a_preview_shows_bad_rows_and_ofx_too():
    for name in ("dirty.csv", "quicken.qfx"):
        with (FILES / name).open("rb") as file:
            shown = preview(file, filename=name, limit=3, today=TODAY)
        assert (len(shown.rows) + len(shown.errors)) == 3
        assert shown.errors[0].field == "date"

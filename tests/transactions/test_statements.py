"""Bank statements, read from files as banks write them and from rows made up to be hard."""

import io
import tracemalloc
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementError
from transactions.statements import ofx
from transactions.statements.excel import _number
from transactions.statements.reader import parse_statement, preview
from transactions.statements.values import StatementRow, parse_amount, parse_date

FILES = Path(__file__).parents[1] / "data" / "statements"
TODAY = date(2025, 2, 10)


def read(text: str | bytes) -> list[StatementRow | RowError]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(parse_statement(io.BytesIO(data), today=TODAY))


def read_file(name: str) -> list[StatementRow | RowError]:
    with (FILES / name).open("rb") as file:
        return list(parse_statement(file, filename=name, today=TODAY))


def rows(found):
    return [row for row in found if isinstance(row, StatementRow)]


def errors(found):
    return [row for row in found if isinstance(row, RowError)]


def amounts(text: str) -> list[str]:
    return [str(row.amount) for row in rows(read(text))]


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
        [(8, "amount")],
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
        [  # more deposits than purchases: the DEBIT and CREDIT column says what the minus means
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
        [("2025-01-14", "Etsy, Inc.", "1023.50"), ("2025-01-11", "Steam Games", "19.99")],
        [(3, "merchant"), (4, "currency")],
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
def test_a_file_as_the_bank_writes_it_is_read(name, good, bad):
    found = read_file(name)
    assert [(str(row.date.date()), row.merchant, str(row.amount)) for row in rows(found)] == good
    assert [(row.row_number, row.field) for row in errors(found)] == bad


def test_every_sample_file_is_in_the_table():
    assert {file.name for file in FILES.iterdir()} == {name for name, _, _ in BANKS}


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


def test_the_raw_row_is_kept_for_download():
    raw = {row.row_number: row.raw for row in errors(read_file("dirty.csv"))}
    assert raw[3] == "someday,Bad Date,-5.00,,"
    assert raw[12] == "01/15/2025,Acme,Inc,-5.00,Food,unquoted comma"
    assert raw[15] == '01/15/2025,"Never closed,-5.00,,'


def test_the_raw_row_has_at_most_2000_characters():
    [error] = read(f"Date,Merchant,Amount\nsomeday,{'x' * 9000},1.00\n")
    assert len(error.raw) == 2000


# --- Amounts ----------------------------------------------------------------------------------------------------------

SPELLINGS = [
    "{sign}{plain}",
    "{sign}{grouped}",
    "{sign}${grouped}",
    "${sign}{grouped}",
    "{sign}{plain}00",
    "{sign}$ {grouped}",
    " {sign}{grouped} ",
    "{sign}{grouped} USD",
    "{sign}US${grouped}",
    "{sign}\u00a0{grouped}",
    "{sign}{plain}0000",
]
NEGATIVE_SPELLINGS = ["({grouped})", "(${grouped})", "$({grouped})", "{plain}-", "${grouped}-", "−{plain}", "–${plain}"]
CENTS = st.integers(min_value=1, max_value=999_999_999_999)


def spelled(spelling: str, value: Decimal) -> str:
    return spelling.format(sign="-" if value < 0 else "", plain=f"{abs(value):.2f}", grouped=f"{abs(value):,.2f}")


@given(CENTS, st.booleans(), st.sampled_from(SPELLINGS))
def test_an_amount_survives_every_spelling(cents, negative, spelling):
    value = Decimal(cents) / 100 * (-1 if negative else 1)
    found, marker = parse_amount(spelled(spelling, value), european=False)
    assert (found, found.as_tuple().exponent, marker) == (value, -2, "")


@given(CENTS, st.sampled_from(NEGATIVE_SPELLINGS))
def test_a_negative_amount_survives_every_spelling(cents, spelling):
    value = Decimal(-cents) / 100
    assert parse_amount(spelled(spelling, value), european=False) == (value, "")


@given(CENTS, st.sampled_from(["{grouped} {mark}", "{grouped}{mark}", "${plain} {mark}", "{mark} {plain}"]))
def test_an_amount_marked_dr_or_cr_survives(cents, spelling):
    value = Decimal(cents) / 100
    for mark in ("DR", "CR", "Cr", "dr"):
        text = spelling.format(plain=f"{value:.2f}", grouped=f"{value:,.2f}", mark=mark)
        assert parse_amount(text, european=False) == (value, mark.upper())


@given(CENTS, st.booleans())
def test_a_european_amount_survives(cents, negative):
    value = Decimal(cents) / 100 * (-1 if negative else 1)
    for text in (f"{value:.2f}", f"{value:,.2f}"):
        european = text.translate(str.maketrans(",.", ".,"))
        assert parse_amount(european, european=True) == (value, "")


@given(st.lists(CENTS, min_size=1, max_size=20), st.booleans(), st.sampled_from([",", ";", "\t", "|"]))
def test_amounts_survive_a_whole_file(cents, negative, delimiter):
    sign = "-" if negative else ""
    lines = [f'01/15/2025{delimiter}Shop{delimiter}"{sign}{Decimal(each) / 100:,.2f}"' for each in cents]
    found = read("\n".join([delimiter.join(["Date", "Merchant", "Amount"]), *lines]))
    assert [row.amount for row in found] == [Decimal(each) / 100 for each in cents]


@pytest.mark.parametrize(
    "text",
    [
        "abc",
        "1.2.3",
        "1,23.00",
        "12,34",
        "--5",
        "-(5.00)",
        "(5.00",
        "5.001",
        "1e5",
        "NaN",
        "Infinity",
        "1_000.00",
        "٣.00",
        "€5.00",
        "$$5",
        "-",
        "$",
        ".",
        "10,000,000,000.00",
        "=1+1",
        "5 00 3,",
        "0x10",
    ],
)
def test_what_is_no_dollar_amount_is_a_row_error(text):
    [error] = errors(read(f'Date,Merchant,Amount\n01/15/2025,Shop,1.00\n01/15/2025,Shop,"{text}"\n'))
    assert (error.row_number, error.field) == (3, "amount")


# column of amounts as written, what they mean
COLUMNS = [
    (["1.234,56", "12,5"], ["1234.56", "12.50"]),  # a decimal comma is proven
    (["1,234.56", "1,234"], ["1234.56", "1234.00"]),
    (["1,234", "500"], ["1234.00", "500.00"]),  # not proven: American
    (["1.234,56", "1,234.56"], ["1234.56"]),  # both kinds: American, the other is a row error
    (["5", ".50", "5."], ["5.00", "0.50", "5.00"]),
]


@pytest.mark.parametrize(("written", "meant"), COLUMNS)
def test_the_column_decides_what_a_comma_means(written, meant):
    lines = "\n".join(f'01/15/2025,Shop,"{text}"' for text in written)
    assert amounts(f"Date,Merchant,Amount\n{lines}\n") == meant


# header, rows, amounts spent
DIRECTIONS = [
    # the sign that most rows carry is spending
    ("Date,Merchant,Amount", ["-5.00", "-6.00", "100.00"], ["5.00", "6.00", "-100.00"]),
    ("Date,Merchant,Amount", ["5.00", "6.00", "-100.00"], ["5.00", "6.00", "-100.00"]),
    ("Date,Merchant,Amount", ["5.00", "-6.00"], ["-5.00", "6.00"]),  # a tie: negative is spending
    # CR and DR beside the amount
    ("Date,Merchant,Amount", ["5.00", "6.00 CR"], ["5.00", "-6.00"]),
    ("Date,Merchant,Amount", ["5.00 DR", "6.00 CR", "7.00CR"], ["5.00", "-6.00", "-7.00"]),
    # debit and credit columns, unsigned, signed, with zeros
    ("Date,Merchant,Debit,Credit", ["5.00,", ",6.00"], ["5.00", "-6.00"]),
    ("Date,Merchant,Debit,Credit", ["-5.00,", ",6.00"], ["5.00", "-6.00"]),
    ("Date,Merchant,Debit,Credit", ["5.00,0.00", "0.00,-6.00"], ["5.00", "-6.00"]),
    ("Date,Merchant,Withdrawals,Deposits", ["5.00,", "-1.00,", "2.00,"], ["5.00", "-1.00", "2.00"]),  # a reversed debit
    ("Date,Merchant,Amount,Debit,Credit", ["9.00,5.00,", "9.00,,6.00"], ["5.00", "-6.00"]),
    ("Date,Merchant,Debit", ["5.00"], ["5.00"]),
    # a column of words, unsigned amounts
    ("Date,Merchant,Amount,Type", ["5.00,Debit", "6.00,CREDIT", "7.00,credit"], ["5.00", "-6.00", "-7.00"]),
    ("Date,Merchant,Amount,Type", ["5.00,Credit"], ["-5.00"]),
    ("Date,Merchant,Amount,CR/DR", ["5.00,DR", "6.00,CR"], ["5.00", "-6.00"]),
    # signed amounts beside the words: the words say which sign is spending, a reversal keeps its sign
    (
        "Date,Merchant,Amount,Type",
        ["-5.00,Debit", "-5.00,Debit", "5.00,Debit", "9.00,Credit"],
        ["5.00", "5.00", "-5.00", "-9.00"],
    ),
    ("Date,Merchant,Amount,Type", ["-5.00,Sale", "9.00,Return", "9.00,Payment"], ["5.00", "-9.00", "-9.00"]),
    # an unknown word beside unsigned amounts is nobody's guess
    ("Date,Merchant,Amount,Type", ["5.00,Debit", "6.00,Credit", "7.00,Payment"], ["5.00", "-6.00"]),
]


@pytest.mark.parametrize(("header", "cells", "spent"), DIRECTIONS)
def test_the_file_decides_what_is_money_spent(header, cells, spent):
    lines = "\n".join(f"01/15/2025,Shop,{cell}" for cell in cells)
    assert amounts(f"{header}\n{lines}\n") == spent


def test_the_first_rows_decide_the_sign_for_the_whole_file():
    purchases = ["01/15/2025,Shop,-5.00"] * 200
    deposits = ["01/15/2025,Payroll,5.00"] * 900
    found = read("\n".join(["Date,Merchant,Amount", *purchases, *deposits]))
    assert sum(row.amount > 0 for row in found) == 200


def test_a_row_with_both_debit_and_credit_is_an_error():
    [error] = read("Date,Merchant,Debit,Credit\n01/15/2025,Shop,5.00,6.00\n")
    assert (error.field, error.reason) == ("amount", "both a debit and a credit")


# --- Dates ------------------------------------------------------------------------------------------------------------

DATES = [
    ("2025-01-15", "2025-01-15T00:00:00"),
    ("2025/1/5", "2025-01-05T00:00:00"),
    ("01/15/2025", "2025-01-15T00:00:00"),
    ("1/5/25", "2025-01-05T00:00:00"),
    ("03/04/2024", "2024-03-04T00:00:00"),
    ("01-15-2025", "2025-01-15T00:00:00"),
    ("15-Jan-2025", "2025-01-15T00:00:00"),
    ("15 January 2025", "2025-01-15T00:00:00"),
    ("15-JAN-25", "2025-01-15T00:00:00"),
    ("Jan 15, 2025", "2025-01-15T00:00:00"),
    ("January 5 2025", "2025-01-05T00:00:00"),
    ("Sept. 3, 2024", "2024-09-03T00:00:00"),
    ("Wed, Jan 15, 2025", "2025-01-15T00:00:00"),
    ("20250115", "2025-01-15T00:00:00"),
    ("2025-01-15T10:30:00Z", "2025-01-15T10:30:00"),
    ("2025-01-15 10:30:00", "2025-01-15T10:30:00"),
    ("2025-01-15T10:30:00.123456+02:00", "2025-01-15T08:30:00"),
    ("2025-01-15T22:30:00-0500", "2025-01-16T03:30:00"),
    ("01/15/2025 10:30 PM", "2025-01-15T22:30:00"),
    ("1/15/2025 12:05:09 AM", "2025-01-15T00:05:09"),
    ("2025-01-15 10:30:00 PST", "2025-01-15T18:30:00"),
    ("2025-01-15 10:30:00 UTC", "2025-01-15T10:30:00"),
    ("01/15/95", "1995-01-15T00:00:00"),
    ("02/17/2025", "2025-02-17T00:00:00"),
    ("1990-01-01", "1990-01-01T00:00:00"),
]


@pytest.mark.parametrize(("text", "moment"), DATES)
def test_a_date_is_read(text, moment):
    [row] = read(f'Date,Merchant,Amount\n"{text}",Shop,-5.00\n')
    assert row.date == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "today",
        "15/15/2025",
        "2025-02-30",
        "02/18/2025",
        "1989-12-31",
        "01/15/1025",
        "2025",
        "1736899200",
        "45672",
        "2025-01-15 25:00",
        "2025-01-15 10:30 XYZ",
        "0000-00-00",
        "01/15",
        "15 Foo 2025",
        "2025-01/15",
        "13:00 PM",
        "٢٠٢٥-٠١-١٥",
        "2025-01-15 13:00 PM",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
    ],
)
def test_an_unreadable_date_is_a_row_error_and_never_today(text):
    found = read(f'Date,Merchant,Amount\n01/15/2025,Shop,-5.00\n"{text}",Shop,-5.00\n')
    assert [(row.row_number, row.field) for row in errors(found)] == [(3, "date")]


@given(st.dates(min_value=date(1990, 1, 1), max_value=TODAY))
def test_any_day_survives_american_iso_and_named_spelling(day):
    for pattern in ("%m/%d/%Y", "%Y-%m-%d", "%d-%b-%Y", "%B %d, %Y", "%Y%m%d"):
        assert parse_date(day.strftime(pattern), day_first=False, today=TODAY).date() == day
    assert parse_date(day.strftime("%d/%m/%Y"), day_first=True, today=TODAY).date() == day


# dates as written, the months they mean, bad rows
ORDERS = [
    (["03/04/2024", "05/06/2024"], [3, 5], 0),  # ambiguous: American
    (["03/04/2024", "25/06/2024"], [4, 6], 0),  # proven: the day comes first
    (["03/04/2024", "06/25/2024"], [3, 6], 0),
    (["03/04/2024", "25/06/2024", "06/25/2024"], [3, 6], 1),  # no proof: American, one bad row
]


@pytest.mark.parametrize(("written", "months", "bad"), ORDERS)
def test_the_day_comes_first_only_when_the_column_proves_it(written, months, bad):
    found = read("\n".join(["Date,Merchant,Amount", *(f"{text},Shop,-5.00" for text in written)]))
    assert [row.date.month for row in rows(found)] == months
    assert len(errors(found)) == bad


# --- Text -------------------------------------------------------------------------------------------------------------

STATEMENT = "Date,Merchant,Amount\n01/15/2025,Café Noël,-5.00\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_are_recognised(encoding, line_end):
    [row] = read(STATEMENT.replace("\n", line_end).encode(encoding))
    assert row.merchant == "Café Noël"


def test_one_byte_in_the_last_row_of_a_large_file_decides_its_encoding():
    found = read(b"Date,Merchant,Amount\n" + b"01/15/2025,Shop,-5.00\n" * 30_000 + b"01/15/2025,Caf\xe9,-5.00\n")
    assert len(found) == 30_001
    assert found[-1].merchant == "Café"


def test_a_character_cut_by_a_chunk_is_whole():
    found = read("Date,Merchant,Amount\n" + "01/15/2025,Éé€é,-5.00\n" * 40_000)
    assert {row.merchant for row in found} == {"Éé€é"}


def test_nul_characters_are_dropped():
    [row] = read(b"Date,Merchant,Amount\n01/15/2025,Sh\0op,-5.00\0\n")
    assert (row.merchant, row.amount) == ("Shop", Decimal("5.00"))


def test_a_quoted_field_may_hold_delimiters_quotes_and_line_breaks():
    found = read('Date,Merchant,Amount\n01/15/2025,"Joe""s, Bar\r\n& Grill",-5.00\n01/16/2025,Next,-6.00\n')
    assert [(row.row_number, row.merchant) for row in found] == [(2, 'Joe"s, Bar & Grill'), (3, "Next")]


def test_a_line_separator_inside_text_does_not_end_the_row():
    [row] = read("Date,Merchant,Amount\n01/15/2025,A\u2028B\x85C\x0cD,-5.00\n")
    assert row.amount == Decimal("5.00")


def test_an_unclosed_quote_costs_one_row_wherever_the_next_quote_is():
    lines = [f"01/15/2025,-5.00,Shop {number},memo" for number in range(100)]
    lines[10] = '01/15/2025,-5.00,Shop 10,"memo'
    lines[13] = '01/15/2025,-5.00,Shop 13,memo"'
    lines[40] = '01/15/2025,-5.00,"Shop 40,memo'
    lines[99] = '01/15/2025,-5.00,Shop 99,"memo'
    found = read("\n".join(["Date,Amount,Merchant,Memo", *lines]))
    assert [(row.row_number, row.field) for row in errors(found)] == [(12, "row"), (42, "row")]
    assert [row.row_number for row in rows(found)] == [number for number in range(2, 102) if number not in (12, 42)]


def test_every_row_with_an_unclosed_quote_is_reported_and_none_is_lost():
    found = read("Date,Merchant,Amount\n" + '01/15/2025,"Shop,-5.00\n' * 500)
    assert [row.row_number for row in errors(found)] == list(range(2, 502))


def test_a_huge_field_costs_one_row():
    found = read(f"Date,Merchant,Amount\n01/15/2025,{'x' * 200_000},-5.00\n01/16/2025,Next,-6.00\n")
    assert [(row.row_number, getattr(row, "field", "")) for row in found] == [(2, "row"), (3, "")]


def test_fields_are_trimmed_and_cut_to_their_columns():
    cells = ",".join(f"  {'x' * 999}  " for _ in range(4))
    [row] = read(f"Date,Amount,Merchant,Category,Description,Reference\n01/15/2025,-5.00,{cells}\n")
    assert [len(text) for text in (row.merchant, row.category, row.description, row.reference)] == [255, 100, 500, 100]


def test_the_description_stands_in_for_an_empty_merchant():
    found = read("Date,Merchant,Amount,Description\n01/15/2025, ,-5.00,Corner Shop\n")
    assert found[0].merchant == "Corner Shop"


def test_the_header_may_stand_below_other_lines():
    found = read("sep=;\nAccount;1234\n\n" + "note\n" * 10 + "Date;Merchant;Amount\n01/15/2025;Shop;-5.00\n")
    assert found[0].row_number == 15


def test_a_file_without_a_header_may_start_with_a_bad_row():
    found = read("soon,-5.00,*,,Shop\n" + "01/15/2025,-5.00,*,,Shop\n" * 6)
    assert [(row.row_number, row.field) for row in errors(found)] == [(1, "date")]
    assert len(rows(found)) == 6


# header spellings: every one of them must be understood as date, money and merchant
HEADERS = [
    "transaction_date,merchant_name,transaction_amount",
    "Transaction Date,Merchant Name,Transaction Amount",
    "TransactionDate,Vendor,Amount",
    "PostingDate,Payee,Amount",
    "DATE,MERCHANT,AMOUNT",
    "Posting Date,Memo,Amount (USD)",
    "Trans. Date,Details,Amount in USD",
    "Date Posted,Description,Debit",
    " Date , Narrative , Withdrawal Amt. ",
]


@pytest.mark.parametrize("header", HEADERS)
def test_header_spellings(header):
    [row] = read(f"{header}\n01/15/2025,Shop,-5.00\n")
    assert (row.merchant, row.amount) == ("Shop", Decimal("5.00"))


def test_a_legacy_type_column_is_the_category():
    assert read("Date,Merchant,Amount,Type\n01/15/2025,Shop,-5.00,Groceries\n")[0].category == "Groceries"


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
def test_a_file_that_cannot_be_read_says_why(data, message):
    with pytest.raises(StatementError, match=message):
        parse_statement(io.BytesIO(data), today=TODAY)


def _workbook(cells: str) -> io.BytesIO:
    """The smallest workbook of one sheet."""
    xml, office = '<?xml version="1.0"?>', "http://schemas.openxmlformats.org"
    main, relations = f"{office}/spreadsheetml/2006/main", f"{office}/package/2006/relationships"
    kind = f"{office}/officeDocument/2006/relationships"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "xl/workbook.xml",
            f'{xml}<workbook xmlns="{main}" xmlns:r="{kind}"><sheets><sheet name="A" sheetId="1" r:id="rId1"/></sheets></workbook>',
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


def test_a_workbook_that_says_a_cell_in_the_last_corner_ends_its_own_process_only():
    small = _text_row("Date", "Merchant", "Amount") + _text_row("2025-01-04", "SHOP", "-5.00")
    assert [row.merchant for row in parse_statement(_workbook(small), today=TODAY)] == ["SHOP"]
    corner = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    with pytest.raises(StatementError, match="cannot be read"):
        parse_statement(_workbook(corner), today=TODAY)


def test_an_empty_or_damaged_workbook_says_so():
    with pytest.raises(StatementError, match="empty"):
        parse_statement(_workbook('<row r="1"><c r="A1" t="str"><v></v></c></row>'), today=TODAY)
    data = (FILES / "business.xls").read_bytes()
    with pytest.raises(StatementError, match="cannot be read"):
        parse_statement(io.BytesIO(data[:2000]), today=TODAY)


def test_numbers_of_a_workbook_are_what_a_person_sees():
    shown = [_number(value) for value in (0.1 + 0.2, 4.5, 20.0, 1234.567, 123456789012.0, 1e300)]
    assert shown == ["0.30", "4.50", "20", "1234.567", "123456789012", "1e+300"]


def test_the_error_names_the_file():
    with pytest.raises(StatementError, match=r"^january\.csv: The file is empty"):
        parse_statement(io.BytesIO(b""), filename="january.csv")


def test_a_statement_without_transactions_is_not_an_error():
    assert read("Date,Merchant,Amount\n") == []
    assert read("OFXHEADER:100\n<OFX><CURDEF>USD<BANKTRANLIST></BANKTRANLIST></OFX>") == []


def test_an_ofx_file_over_its_limit_is_refused(monkeypatch):
    monkeypatch.setattr(ofx, "OFX_MAX_BYTES", 1000)
    with pytest.raises(StatementError, match="use CSV"):
        read_file("quicken.qfx")


def test_an_unreadable_ofx_record_costs_one_row():
    text = (FILES / "quicken.qfx").read_text().replace("<MEMO>Wireless", "<MEMO>Wireless</NAME>stray")
    found = read(text)
    assert [row.row_number for row in rows(found)] == [3, 5]
    assert errors(found)[0].reason == "the record is not well-formed OFX"


def test_the_file_stays_open():
    file = io.BytesIO(STATEMENT.encode())
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
        found = read(data)
    except StatementError:
        return
    assert all(isinstance(row, StatementRow | RowError) for row in found)
    assert all(row.amount and row.merchant and row.date.tzinfo is UTC for row in rows(found))


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


def test_a_preview_shows_how_the_file_was_understood():
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

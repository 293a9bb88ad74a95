"""Text, quoting and headers of CSV statements."""

from decimal import Decimal

import pytest

from tests.transactions.statements.helpers import errors, read, rows

STATEMENT = "Date,Merchant,Amount\n01/15/2025,Café Noël,-5.00\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_are_recognised(encoding, line_end):
    [row] = read(STATEMENT.replace("\n", line_end).encode(encoding))
    assert row.merchant == "Café Noël"


def test_one_byte_in_the_last_row_of_a_large_file_decides_the_encoding():
    items = read(b"Date,Merchant,Amount\n" + b"01/15/2025,Shop,-5.00\n" * 30_000 + b"01/15/2025,Caf\xe9,-5.00\n")
    assert len(items) == 30_001
    assert items[-1].merchant == "Café"


def test_a_character_across_two_chunks_is_read():
    items = read("Date,Merchant,Amount\n" + "01/15/2025,Éé€é,-5.00\n" * 40_000)
    assert {row.merchant for row in items} == {"Éé€é"}


def test_nul_characters_are_dropped():
    [row] = read(b"Date,Merchant,Amount\n01/15/2025,Sh\0op,-5.00\0\n")
    assert (row.merchant, row.amount) == ("Shop", Decimal("5.00"))


def test_a_quoted_field_may_hold_delimiters_quotes_and_line_breaks():
    items = read('Date,Merchant,Amount\n01/15/2025,"Joe""s, Bar\r\n& Grill",-5.00\n01/16/2025,Next,-6.00\n')
    assert [(row.row_number, row.merchant) for row in items] == [(2, 'Joe"s, Bar & Grill'), (3, "Next")]


def test_a_line_separator_inside_text_does_not_end_the_row():
    [row] = read("Date,Merchant,Amount\n01/15/2025,A\u2028B\x85C\x0cD,-5.00\n")
    assert row.amount == Decimal("5.00")


def test_an_unclosed_quote_costs_one_row_wherever_the_next_quote_is():
    lines = [f"01/15/2025,-5.00,Shop {number},memo" for number in range(100)]
    lines[10] = '01/15/2025,-5.00,Shop 10,"memo'
    lines[13] = '01/15/2025,-5.00,Shop 13,memo"'
    lines[40] = '01/15/2025,-5.00,"Shop 40,memo'
    lines[99] = '01/15/2025,-5.00,Shop 99,"memo'
    items = read("\n".join(["Date,Amount,Merchant,Memo", *lines]))
    assert [(row.row_number, row.field) for row in errors(items)] == [(12, "row"), (42, "row")]
    assert [row.row_number for row in rows(items)] == [number for number in range(2, 102) if number not in (12, 42)]


def test_every_row_with_an_unclosed_quote_is_reported_and_none_is_lost():
    items = read("Date,Merchant,Amount\n" + '01/15/2025,"Shop,-5.00\n' * 500)
    assert [row.row_number for row in errors(items)] == list(range(2, 502))


def test_a_huge_field_costs_one_row():
    items = read(f"Date,Merchant,Amount\n01/15/2025,{'x' * 200_000},-5.00\n01/16/2025,Next,-6.00\n")
    assert [(row.row_number, getattr(row, "field", "")) for row in items] == [(2, "row"), (3, "")]


def test_fields_are_trimmed_and_cut_to_their_columns():
    cells = ",".join(f"  {'x' * 999}  " for _ in range(4))
    [row] = read(f"Date,Amount,Merchant,Category,Description,Reference\n01/15/2025,-5.00,{cells}\n")
    assert [len(text) for text in (row.merchant, row.category, row.description, row.reference)] == [255, 100, 500, 100]


def test_the_description_replaces_an_empty_merchant():
    items = read("Date,Merchant,Amount,Description\n01/15/2025, ,-5.00,Corner Shop\n")
    assert items[0].merchant == "Corner Shop"


def test_the_header_may_follow_other_lines():
    items = read("sep=;\nAccount;1234\n\n" + "note\n" * 10 + "Date;Merchant;Amount\n01/15/2025;Shop;-5.00\n")
    assert items[0].row_number == 15


def test_a_file_without_a_header_may_start_with_a_bad_row():
    items = read("soon,-5.00,*,,Shop\n" + "01/15/2025,-5.00,*,,Shop\n" * 6)
    assert [(row.row_number, row.field) for row in errors(items)] == [(1, "date")]
    assert len(rows(items)) == 6


# each header has a date, an amount and a merchant
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

"""Amounts and dates in every spelling."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transactions.statements.helpers import TODAY, amounts, errors, read, rows
from transactions.errors import StatementQuestionsError
from transactions.statements.values import parse_amount, parse_date

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
    amount, marker = parse_amount(spelled(spelling, value), european=False)
    assert (amount, amount.as_tuple().exponent, marker) == (value, -2, "")


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
    heading = "Amount" if negative else "Debit"
    lines = [f'01/15/2025{delimiter}Shop{delimiter}"{sign}{Decimal(each) / 100:,.2f}"' for each in cents]
    items = read("\n".join([delimiter.join(["Date", "Merchant", heading]), *lines]))
    assert [row.amount for row in items] == [Decimal(each) / 100 for each in cents]


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
def test_text_that_is_not_a_dollar_amount_is_a_row_error(text):
    [error] = errors(read(f'Date,Merchant,Amount\n01/15/2025,Shop,-1.00\n01/15/2025,Shop,"{text}"\n'))
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
def test_the_column_decides_the_meaning_of_a_comma(written, meant):
    lines = "\n".join(f'01/15/2025,Shop,"{text}"' for text in written)
    assert amounts(f"Date,Merchant,Debit\n{lines}\n") == meant


# header, rows, amounts spent
DIRECTIONS = [
    ("Date,Merchant,Amount", ["-5.00", "-6.00"], ["5.00", "6.00"]),
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
    # signed amounts beside the words: the words decide which sign is spending, a reversal keeps its sign
    (
        "Date,Merchant,Amount,Type",
        ["-5.00,Debit", "-5.00,Debit", "5.00,Debit", "9.00,Credit"],
        ["5.00", "5.00", "-5.00", "-9.00"],
    ),
    ("Date,Merchant,Amount,Type", ["-5.00,Sale", "9.00,Return", "9.00,Payment"], ["5.00", "-9.00", "-9.00"]),
    # an unknown word beside unsigned amounts is an error
    ("Date,Merchant,Amount,Type", ["5.00,Debit", "6.00,Credit", "7.00,Payment"], ["5.00", "-6.00"]),
]


@pytest.mark.parametrize(("header", "cells", "spent"), DIRECTIONS)
def test_the_file_decides_what_is_money_spent(header, cells, spent):
    lines = "\n".join(f"01/15/2025,Shop,{cell}" for cell in cells)
    assert amounts(f"{header}\n{lines}\n") == spent


def test_the_first_rows_decide_the_sign_for_the_whole_file():
    purchases = ["01/15/2025,Shop,-5.00"] * 200
    deposits = ["01/15/2025,Payroll,5.00"] * 900
    items = read("\n".join(["Date,Merchant,Amount", *purchases, *deposits]))
    assert sum(row.amount > 0 for row in items) == 200


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
    ("2025-01-15T10:30:00.123456+02:00", "2025-01-15T10:30:00"),
    ("2025-01-15T22:30:00-0500", "2025-01-15T22:30:00"),  # a zone does not move the day
    ("01/15/2025 10:30 PM", "2025-01-15T22:30:00"),
    ("1/15/2025 12:05:09 AM", "2025-01-15T00:05:09"),
    ("2025-01-15 10:30:00 PST", "2025-01-15T10:30:00"),
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
    items = read(f'Date,Merchant,Amount\n01/15/2025,Shop,-5.00\n"{text}",Shop,-5.00\n')
    assert [(row.row_number, row.field) for row in errors(items)] == [(3, "date")]


@given(st.dates(min_value=date(1990, 1, 1), max_value=TODAY))
def test_any_day_survives_american_iso_and_named_spelling(day):
    for pattern in ("%m/%d/%Y", "%Y-%m-%d", "%d-%b-%Y", "%B %d, %Y", "%Y%m%d"):
        assert parse_date(day.strftime(pattern), order="mdy", today=TODAY).date() == day
    assert parse_date(day.strftime("%d/%m/%Y"), order="dmy", today=TODAY).date() == day


# dates as written, the months they mean, bad rows
ORDERS = [
    (["03/04/2024", "05/06/2024"], [3, 5], 0),  # ambiguous: American
    (["03/04/2024", "25/06/2024"], [4, 6], 0),  # proven: the day comes first
    (["03/04/2024", "06/25/2024"], [3, 6], 0),
]


def test_a_column_that_proves_both_orders_is_a_question():
    text = "Date,Merchant,Amount\n03/04/2024,Shop,-5.00\n25/06/2024,Shop,-5.00\n06/25/2024,Shop,-5.00\n"
    with pytest.raises(StatementQuestionsError) as raised:
        read(text)
    assert [question.key for question in raised.value.questions] == ["date_order"]
    items = read(text, date_order="mdy")
    assert ([row.date.month for row in rows(items)], len(errors(items))) == ([3, 6], 1)


@pytest.mark.parametrize("cells", [["5.00", "6.00", "-100.00"], ["-5.00", "-6.00", "100.00"], ["5.00"]])
def test_most_rows_are_no_evidence_for_a_sign(cells):
    text = "\n".join(["Date,Merchant,Amount", *(f"01/15/2025,Shop,{cell}" for cell in cells)])
    with pytest.raises(StatementQuestionsError) as raised:
        read(text)
    assert [question.key for question in raised.value.questions] == ["spending"]
    spent = [Decimal(cell) for cell in cells]
    assert [row.amount for row in read(text, spending="positive")] == spent
    assert [row.amount for row in read(text, spending="negative")] == [-amount for amount in spent]


def test_thirty_payees_against_one_are_evidence_for_a_sign():
    lines = [f"01/15/2025,Shop {number},-5.00" for number in range(40)]
    assert amounts("\n".join(["Date,Merchant,Amount", *lines, "01/15/2025,Shop 1,5.00"]))[-1] == "-5.00"
    with pytest.raises(StatementQuestionsError):
        read("\n".join(["Date,Merchant,Amount", *["01/15/2025,Shop,-5.00"] * 900, "01/15/2025,Other,5.00"]))


@pytest.mark.parametrize(("written", "months", "bad"), ORDERS)
def test_the_day_comes_first_only_when_the_column_proves_it(written, months, bad):
    items = read("\n".join(["Date,Merchant,Amount", *(f"{text},Shop,-5.00" for text in written)]))
    assert [row.date.month for row in rows(items)] == months
    assert len(errors(items)) == bad

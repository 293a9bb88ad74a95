"""Layouts that banks and payment services use: what each row becomes, or the question."""

import io
from datetime import date

import pytest

from kamioi_site.imports.rows import RowError
from transactions.errors import StatementQuestionsError
from transactions.statements.reader import parse_statement

TODAY = date(2026, 2, 10)
# name: (file, the rows as day, amount and class; a rejected row as its field; or the key of the question)
LAYOUTS = {
    "letters under a heading of letters": (
        "Date;Description;D/K;Amount\n15.01.2026;STARBUCKS;D;4,50\n16.01.2026;LOHN;K;1500,00\n",
        ["15 4.50", "16 -1500.00 deposit"],
    ),
    "letters under an unknown heading": (
        "Date,Description,Kind of row,Amount\n01/15/2026,STARBUCKS,D,4.50\n01/16/2026,ACME,C,1500.00\n",
        ["15 4.50", "16 -1500.00"],
    ),
    "words under an unknown heading": (
        "Date,Description,Side,Amount\n01/15/2026,STARBUCKS,Debit,4.50\n01/16/2026,ACME,Credit,1500.00\n",
        ["15 4.50", "16 -1500.00"],
    ),
    "amounts without signs, one of which is income": (
        "Date,Description,Amount\n01/15/2026,STARBUCKS,4.50\n01/16/2026,ACME PAYROLL,1500.00\n",
        "spending",
    ),
    "amounts without signs, with words and a balance": (
        "Date,Description,Amount,Type,Balance\n01/15/2026,ACME,100.00,Credit,200.00\n01/16/2026,ACME,50.00,Credit,250.00\n"
        "01/17/2026,STARBUCKS,4.50,Debit,245.50\n",
        ["15 -100.00", "16 -50.00", "17 4.50"],
    ),
    "the same without a header": (
        "01/15/2026,ACME,100.00,Credit,200.00\n01/16/2026,STARBUCKS,4.50,Debit,195.50\n",
        ["15 -100.00", "16 4.50"],
    ),
    "signs behind the amount": (
        "Date,Description,Amount\n01/15/2026,STARBUCKS,4.50-\n01/16/2026,ACME,1500.00+\n",
        ["15 4.50", "16 -1500.00"],
    ),
    "a currency column in another language": (
        "Buchungstag;Verwendungszweck;Betrag;Währung\n15.01.2026;STARBUCKS;-4,50;USD\n16.01.2026;REWE;-1,30;EUR\n",
        ["15 4.50", "currency"],
    ),
    "a currency column under an unknown heading": (
        "Date,Description,Amount,Devisen\n01/15/2026,STARBUCKS,-4.50,USD\n01/16/2026,TIM HORTONS,-1.30,CAD\n",
        ["15 4.50", "currency"],
    ),
    "the price in another currency beside dollars": (
        "Date,Description,Original Amount,Original Currency,Amount\n01/15/2026,CAFE,-4.00,EUR,-4.50\n"
        "01/16/2026,TARGET,-10.00,USD,-10.00\n",
        ["15 4.50", "16 10.00"],
    ),
    "two digits of the year, perhaps in front": (
        "Date,Description,Amount\n26-01-15,STARBUCKS,-4.50\n26-01-16,TARGET,-10.00\n",
        "date_order",
    ),
    "pending in the description": (
        "Date,Description,Amount\n01/15/2026,STARBUCKS,-4.50\n01/16/2026,PENDING - TARGET,-10.00\n"
        "01/16/2026,WALMART (PENDING),-11.00\n",
        ["15 4.50", "row", "row"],
    ),
    "Revolut": (
        "Type,Product,Started Date,Completed Date,Description,Amount,Fee,Currency,State,Balance\n"
        "CARD_PAYMENT,Current,2026-01-15 10:00:00,2026-01-16 09:00:00,Starbucks,-4.50,0.00,USD,COMPLETED,95.50\n"
        "TOPUP,Current,2026-01-16 10:00:00,2026-01-16 10:00:00,Top-Up by *1234,50.00,0.00,USD,COMPLETED,145.50\n"
        "CARD_PAYMENT,Current,2026-01-17 10:00:00,,Target,-20.00,0.00,USD,PENDING,\n"
        "CARD_PAYMENT,Current,2026-01-17 10:00:00,2026-01-18 09:00:00,Zara,-30.00,0.00,EUR,COMPLETED,10.00\n",
        ["15 4.50", "16 -50.00 transfer", "status", "currency"],
    ),
    "Venmo": (
        "Account Statement - (@jane),,,,,,,,\nAccount Activity,,,,,,,,\n"
        ",ID,Datetime,Type,Status,Note,From,To,Amount (total)\n,,,,,,,,\n"
        ",1,2026-01-15T10:00:00,Payment,Complete,lunch,Jane,Bob,- $12.50\n"
        ",2,2026-01-16T10:00:00,Payment,Complete,rent,Bob,Jane,+ $100.00\n"
        ",3,2026-01-17T10:00:00,Merchant Transaction,Complete,,Jane,Grubhub,- $20.00\n",
        ["15 12.50 transfer", "16 -100.00 transfer", "17 20.00"],
    ),
    "Wise": (
        '"TransferWise ID",Date,Amount,Currency,Description,"Running Balance",Merchant\n'
        "CARD-1,15-01-2026,-4.50,USD,Card transaction,95.50,Starbucks\n"
        "TRANSFER-2,16-01-2026,50.00,USD,Received money from ACME,145.50,\n",
        ["15 4.50", "16 -50.00 transfer"],
    ),
    "headings over two rows": (
        "Posting,Transaction,,Money,Money\nDate,Date,Description,Out,In\n"
        "01/05/2026,01/15/2026,STARBUCKS,4.50,\n01/06/2026,01/16/2026,ACME PAYROLL,,1500.00\n",
        ["05 4.50", "06 -1500.00 deposit"],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_or_asked_about(name: str) -> None:
    text, expected = LAYOUTS[name]
    try:
        items = parse_statement(io.BytesIO(text.encode()), today=TODAY)
        found: object = [
            item.field if isinstance(item, RowError) else f"{item.date:%d} {item.amount} {item.row_class}".strip()
            for item in items
        ]
    except StatementQuestionsError as error:
        found = error.questions[0].key
    assert found == expected

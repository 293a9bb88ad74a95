"""OFX as banks write it: SGML, XML, and neither quite."""

import time

import pytest

from tests.transactions.statements.helpers import errors, read, rows
from transactions.statements.values import Correction

HEADER = "OFXHEADER:100\nDATA:OFXSGML\nVERSION:102\nENCODING:USASCII\nCHARSET:1252\n\n"
RECORD = "<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20250115<TRNAMT>-6.45<FITID>1<NAME>SHOP</STMTTRN>"


def document(*records: str, header: str = HEADER, currency: str = "USD") -> str:
    listed = "".join(records)
    return (
        f"{header}<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>{currency}<BANKACCTFROM><ACCTID>11</BANKACCTFROM>"
        f"<BANKTRANLIST>{listed}</BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"
    )


def record(**fields: str) -> str:
    values = {"TRNTYPE": "DEBIT", "DTPOSTED": "20250115", "TRNAMT": "-6.45", "FITID": "1", "NAME": "SHOP"} | fields
    return "<STMTTRN>" + "".join(f"<{tag}>{value}\n" for tag, value in values.items()) + "</STMTTRN>"


def test_sgml_and_xml_in_any_case_give_the_same_rows():
    xml = RECORD.replace("<NAME>SHOP", "<NAME>SHOP</NAME>").replace("<FITID>1", "<FITID>1</FITID>")
    expected = read(document(RECORD))
    assert [(row.merchant, str(row.amount), row.reference) for row in rows(expected)] == [("SHOP", "6.45", "1")]
    for spelling in (
        document(RECORD).lower().replace(">shop", ">SHOP"),
        document(xml, header='<?xml version="1.0"?><?OFX OFXHEADER="200" VERSION="211"?>\n'),
        document(xml, header="<!-- exported --><!DOCTYPE OFX>"),
        document(RECORD.replace("</STMTTRN>", "")),  # the record is not closed
        document(RECORD.replace("><", ">  \r\n\t<")),
        document(RECORD).partition("</BANKTRANLIST>")[0],  # the file is cut
    ):
        assert read(spelling) == expected


@pytest.mark.parametrize(
    ("posted", "expected"),
    [
        ("20250115", "2025-01-15T00:00:00+00:00"),
        ("202501151230", "2025-01-15T12:30:00+00:00"),
        ("20250115120000.123[-5:EST]", "2025-01-15T17:00:00+00:00"),
        ("20250115120000[+5.30:IST]", "2025-01-15T06:30:00+00:00"),
        ("20250131220000[-5:EST]", "2025-01-31T22:00:00+00:00"),  # February 1st in UTC
        ("20250201000000[+10:AEST]", "2025-02-01T00:00:00+00:00"),  # January 31st in UTC
        ("20250115120000[-:EST]", "2025-01-15T12:00:00+00:00"),
    ],
)
def test_the_day_that_the_bank_wrote_counts(posted, expected):
    assert [row.date.isoformat() for row in rows(read(document(record(DTPOSTED=posted))))] == [expected]


@pytest.mark.parametrize("posted", ["20250230", "2025", "01/15/2025", "２０２５０１１５", "2025-01-15", "2025011525"])
def test_what_is_no_date_in_ofx_is_rejected(posted):
    assert [error.field for error in errors(read(document(record(DTPOSTED=posted))))] == ["date"]


def test_a_hold_is_listed_and_not_bought():
    items = read(document(record(TRNTYPE="HOLD"), record(TRNTYPE="POS", NAME="A")))
    assert [row.merchant for row in rows(items)] == ["A"]
    assert [(error.field, error.reason) for error in errors(items)] == [
        ("type", "the purchase is only on hold; it is listed again when it is posted")
    ]


@pytest.mark.parametrize(("debit", "credit"), [("-4.50", "9.00"), ("4.50", "9.00"), ("4.50", "-9.00")])
def test_the_type_decides_where_signs_contradict_it_throughout(debit, credit):
    text = document(
        record(TRNTYPE="POS", TRNAMT=debit, FITID="1", NAME="SHOP"),
        record(TRNTYPE="CREDIT", TRNAMT=credit, FITID="2", NAME="ACME"),
    )
    assert [str(row.amount) for row in rows(read(text))] == ["4.50", "-9.00"]


def test_a_corrected_record_is_rejected_and_its_correction_names_it():
    first, third = record(FITID="1", NAME="A"), record(FITID="3", CORRECTFITID="2", CORRECTACTION="DELETE")
    items = read(document(first, record(FITID="2", CORRECTFITID="1", CORRECTACTION="REPLACE", NAME="B"), third))
    assert [error.reason for error in errors(items)] == [
        "replaced or deleted by the bank in row 2",
        "replaced or deleted by the bank in row 3",
    ]
    assert [row.correction for row in rows(items)] == [Correction("2", is_deletion=True, is_in_file=True)]


def test_each_statement_of_a_file_has_its_own_currency_and_account():
    def statement(account: str, currency: str) -> str:
        return (
            f"<CCSTMTTRNRS><CCSTMTRS><CURDEF>{currency}<CCACCTFROM><ACCTID>{account}</CCACCTFROM>"
            f"<BANKTRANLIST>{RECORD}</BANKTRANLIST></CCSTMTRS></CCSTMTTRNRS>"
        )

    text = document(RECORD).replace(
        "</OFX>", f"<CREDITCARDMSGSRSV1>{statement('22', 'CAD')}{statement('33', 'USD')}</CREDITCARDMSGSRSV1></OFX>"
    )
    items = read(text)
    assert [(row.row_number, row.account) for row in rows(items)] == [(1, "11"), (3, "33")]
    assert [(error.row_number, error.reason) for error in errors(items)] == [
        (2, "the statement is in CAD, not US dollars")
    ]


def test_the_account_of_the_other_side_is_not_that_of_the_statement():
    transfer = record(TRNTYPE="XFER").replace("</STMTTRN>", "<BANKACCTTO><ACCTID>99</BANKACCTTO></STMTTRN>")
    assert [row.account for row in rows(read(document(transfer, RECORD)))] == ["11", "11"]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("AT&amp;T", "AT&T"),
        ("AT&T", "AT&T"),
        ("CAF&#233; &#xe9;", "CAFé é"),
        ("A < B", "A < B"),
        ("<![CDATA[BED <b> & BATH]]>", "BED <b> & BATH"),
        ("&copyright &nbsp;BOOKS", "&copyright BOOKS"),
    ],
)
def test_text_is_read_as_the_bank_meant_it(written, name):
    assert [row.merchant for row in rows(read(document(record(NAME=written))))] == [name]


def test_a_charset_in_the_header_does_not_decide_the_encoding():
    for encoding in ("utf-8", "cp1252"):
        assert rows(read(document(record(NAME="Café")).encode(encoding)))[0].merchant == "Café"


def test_no_entity_of_a_document_type_is_resolved():
    bomb = '<?xml version="1.0"?><!DOCTYPE OFX [<!ENTITY a SYSTEM "file:///etc/passwd"><!ENTITY b "&a;&a;">]>'
    assert [row.merchant for row in rows(read(document(record(NAME="&a;&b;"), header=bomb)))] == ["&a;&b;"]


@pytest.mark.parametrize(
    "piece", ["<![CDATA[", "<A>", "<STMTTRN>", "<NAME>x", "<ACCTID>", "<", "<STMTTRN><NAME>", "</A>", "<STMTTRN", "["]
)
def test_a_hostile_file_is_read_in_linear_time(piece):
    text = document(piece * (400_000 // len(piece)), RECORD)
    start = time.process_time()
    read(text)
    assert time.process_time() - start < 10  # a quadratic reader takes minutes

"""The reader of mapping files."""

import io
from decimal import Decimal

import pytest

from llm_center.mapping_file import MappingFileError, MappingRow, preview_mappings, read_mappings

HEADER = "Merchant Name,Category,Ticker,Company Name,Confidence\n"


def read(text: str | bytes) -> list:
    return list(read_mappings(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


@pytest.mark.parametrize(
    ("text", "merchant", "ticker", "confidence"),
    [
        (HEADER + "Joe's,Food,SBUX,Starbucks,95\n", "Joe's", "SBUX", "0.9500"),
        ("merchant_name,category,ticker,company_name\nJoe's,Food,sbux,\n", "Joe's", "SBUX", "1"),
        (
            "merchant name; ticker symbol; category; confidence; notes\nJoe's; brk-b; ; 0.5; why\n",
            "Joe's",
            "BRK.B",
            "0.5000",
        ),
        ("MERCHANT_NAME\tTICKER_SYMBOL\tCONFIDENCE\nJoe's\tBRK/B\t95%\n", "Joe's", "BRK.B", "0.9500"),
        ("\ufeff" + HEADER + '"Joe\'s, ""the"" Shop",,SBUX,,1\n', 'Joe\'s, "the" Shop', "SBUX", "1.0000"),
    ],
)
def test_common_variants_of_headings_and_values_are_read(text, merchant, ticker, confidence):
    (row,) = read(text)
    assert isinstance(row, MappingRow)
    assert (row.merchant, row.ticker, row.confidence) == (merchant, ticker, Decimal(confidence))


def test_a_latin_1_file_is_read():
    assert read(HEADER.encode() + b"Caf\xe9,,SBUX,,\n")[0].merchant == "Café"


def test_bad_rows_are_reported_and_good_rows_are_read():
    rows = read(
        HEADER + ",,SBUX,,\nJoe's,,,,\nJoe's,,STARBUCKS INC,,\nJoe's,,SBUX,,many\nJoe's,,SBUX,,140\n\nJoe's,,SBUX,,\n"
    )
    assert [(row.row_number, row.field) for row in rows[:-1]] == [
        (2, "merchant"),
        (3, "ticker"),
        (4, "ticker"),
        (5, "confidence"),
        (6, "confidence"),
    ]
    assert isinstance(rows[-1], MappingRow)
    assert rows[-1].row_number == 8


@pytest.mark.parametrize("text", ["a,b,c\n1,2,3\n", "Merchant Name,Category\nx,y\n"])
def test_a_file_without_the_required_columns_is_refused(text):
    with pytest.raises(MappingFileError, match="no column for"):
        preview_mappings(io.BytesIO(text.encode()))

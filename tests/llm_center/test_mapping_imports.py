"""Files of mappings: read as people write them, imported once, approved with care, exported as they came."""

import io
from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from llm_center.mapping_file import MappingFileError, MappingRow, preview_mappings, read_mappings
from llm_center.models import LlmMapping, MappingDecision, MappingImport, MappingImportKey
from llm_center.services import mapping_imports
from llm_center.services.mapping_imports import mapping_rejects_csv, run_mapping_import, upload_mapping_file
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import Merchant, Setting, Transaction
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db
HEADER = "Merchant Name,Category,Ticker,Company Name,Confidence\n"


def read(text: str | bytes) -> list:
    return list(read_mappings(io.BytesIO(text if isinstance(text, bytes) else text.encode())))


def run(text: str, *, name: str = "m.csv") -> MappingImport:
    imported = upload_mapping_file(
        filename=name, content=ContentFile(text.encode(), name=name), actor=make_staff(), send=False
    )
    done = run_mapping_import(task_id=imported.task_id)
    assert done is not None
    done.task.refresh_from_db()
    assert done.task.status == "completed", done.task.error
    return done


@pytest.fixture
def companies() -> None:
    for ticker in ("SBUX", "AAPL", "AMZN", "BRK.B"):
        make_company(ticker)
    make_company("RAD", None, is_listed=False)


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
def test_files_as_people_write_them(text, merchant, ticker, confidence):
    (row,) = read(text)
    assert isinstance(row, MappingRow)
    assert (row.merchant, row.ticker, row.confidence) == (merchant, ticker, Decimal(confidence))


def test_latin_1():
    assert read(HEADER.encode() + b"Caf\xe9,,SBUX,,\n")[0].merchant == "Café"


def test_bad_rows_name_row_field_and_reason_and_good_ones_go_on():
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
def test_a_file_without_the_columns_is_one_clear_sentence(text):
    with pytest.raises(MappingFileError, match="no column for"):
        preview_mappings(io.BytesIO(text.encode()))


def test_what_the_file_says_is_approved_and_releases_what_waits(companies):
    user = make_user()
    make_transaction(user, "CORNER CAFE", merchant_key="CORNER CAFE")
    process_pending()
    assert Transaction.objects.get().status == "needs_review"
    done = run(HEADER + "CORNER CAFE #12,Food,SBUX,,100\nCORNER CAFE #13,Food,SBUX,,100\nBAD,,NOPE,,\n")
    assert (done.rows_added, done.rows_rejected, done.merchants_approved) == (2, 1, 1)
    merchant = Merchant.objects.get(merchant_key="CORNER CAFE")
    assert (merchant.status, merchant.ticker, merchant.source) == ("approved", "SBUX", "admin")
    assert Transaction.objects.get().status == "pending"
    assert MappingDecision.objects.get().decided_by == done.task.user
    assert set(LlmMapping.objects.values_list("source", "status", "merchant_key")) == {
        ("bulk", "approved", "CORNER CAFE")
    }
    assert "NOPE is not a listed company" in "".join(mapping_rejects_csv(imported=done))
    assert not MappingImportKey.objects.exists()


def test_what_protects_money_goes_to_a_reviewer(companies):
    make_merchant("DECIDED", "AAPL", decided_by=make_staff("first@kamioi.test"))
    make_merchant("REFUSED", None, "proposed", rejected_tickers=["AAPL"])
    make_merchant("RICH", None, "proposed", waiting_amount=Decimal(500))
    Setting.objects.update_or_create(key="four_eyes_limit", defaults={"value": "100"})
    done = run(
        HEADER
        + "DECIDED,,SBUX,,\nREFUSED,,AAPL,,\nRICH,,AAPL,,\nTWO MINDS,,SBUX,,\nTWO MINDS,,AAPL,,\nUNSURE,,AAPL,,40\n"
        "SUBWAY 1234,,SBUX,,\nTRADER JOE'S #5,,AMZN,,\nDELISTED,,RAD,,\n"
    )
    assert (done.merchants_kept, done.merchants_approved, done.rows_rejected) == (1, 0, 1)
    states = dict(Merchant.objects.values_list("merchant_key", "status"))
    assert states.pop("DECIDED") == "approved"
    assert set(states.values()) == {"proposed"}
    reasons = dict(Merchant.objects.values_list("merchant_key", "reason"))
    assert "rejected for this merchant before" in reasons["REFUSED"]
    assert "two people" in reasons["RICH"]
    assert "several companies" in reasons["TWO MINDS"]
    assert "40% sure" in reasons["UNSURE"]
    assert "catalogue says" in reasons["SUBWAY"]
    assert Merchant.objects.get(merchant_key="DECIDED").ticker == "AAPL"


def test_the_same_file_is_imported_once(companies):
    run(HEADER + "CORNER CAFE,,SBUX,,\n")
    with pytest.raises(MappingFileError, match="was imported on"):
        run(HEADER + "CORNER CAFE,,SBUX,,\n", name="again.csv")


def test_a_killed_import_goes_on_where_it_stood(companies, monkeypatch):
    monkeypatch.setattr(mapping_imports, "BATCH", 3)
    monkeypatch.setattr(mapping_imports, "MERCHANTS", 2)
    text = HEADER + "".join(f"SHOP NUMBER{chr(65 + n)},,SBUX,,\n" for n in range(10))
    imported = upload_mapping_file(filename="m.csv", content=ContentFile(text.encode()), actor=make_staff(), send=False)

    class Killed(BaseException):
        pass

    def strike(rows: int) -> None:
        if rows >= 6:
            raise Killed

    with pytest.raises(Killed):
        run_mapping_import(task_id=imported.task_id, on_progress=strike)
    imported.task.refresh_from_db()
    imported.task.status = "queued"
    imported.task.save()
    done = run_mapping_import(task_id=imported.task_id)
    assert (done.rows_done, done.rows_added, done.merchants_approved) == (10, 10, 10)
    assert LlmMapping.objects.count() == 10
    assert Merchant.objects.filter(status="approved").count() == 10


def test_upload_with_preview_and_export_in_the_admin(companies, client):
    client.force_login(make_staff())
    address = reverse("admin:llm_center_mappingimport_upload")
    upload = SimpleUploadedFile("mine.csv", (HEADER + "CORNER CAFE,Food,SBUX,,95\nX,,,,\n").encode())
    page = client.post(address, {"file": upload})
    assert b"Preview of mine.csv" in page.content
    assert b"is empty" in page.content
    assert not MappingImport.objects.exists()
    token = page.context["token"]
    sent = client.post(address, {"token": token}, follow=True)
    assert b"Importing mine.csv." in sent.content
    imported = MappingImport.objects.get()
    run_mapping_import(task_id=imported.task_id)
    rejects = client.get(reverse("admin:llm_center_mappingimport_rejects", args=[imported.pk]))
    assert b"ticker,is empty" in rejects.getvalue()
    LlmMapping.objects.create(merchant_name="=cmd()", merchant_key="CMD", source="admin", status="pending")
    export = client.get(reverse("admin:llm_center_llmmapping_export") + "?status__exact=approved").getvalue().decode()
    assert export.splitlines()[1].startswith("CORNER CAFE,Food,SBUX,SBUX Inc.,95.00,approved,bulk,")
    assert len(export.splitlines()) == 2
    everything = client.get(reverse("admin:llm_center_llmmapping_export")).getvalue().decode()
    assert "'=cmd()" in everything


def test_who_may_not_upload(client):
    client.force_login(make_user("clerk2@kamioi.test", is_staff=True))
    assert client.get(reverse("admin:llm_center_mappingimport_upload")).status_code == 403
    assert client.get(reverse("admin:llm_center_llmmapping_export")).status_code == 403

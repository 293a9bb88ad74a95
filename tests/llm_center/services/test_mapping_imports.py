"""Imports of mapping files: once per file, approved with care, exported in the same columns."""

from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from llm_center.mapping_file import MappingFileError
from llm_center.models import LlmMapping, MappingDecision, MappingImport, MappingImportKey
from llm_center.services import mapping_imports
from llm_center.services.mapping_imports import run_mapping_import, upload_mapping_file
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import Merchant, Setting, Transaction, User
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db
HEADER = "Merchant Name,Category,Ticker,Company Name,Confidence\n"


def run(text: str, *, name: str = "m.csv", actor: User | None = None) -> MappingImport:
    imported = upload_mapping_file(
        filename=name, content=ContentFile(text.encode(), name=name), actor=actor or make_staff(), send=False
    )
    result = run_mapping_import(task_id=imported.task_id)
    assert result is not None
    result.task.refresh_from_db()
    assert result.task.status == "completed", result.task.error
    return result


@pytest.fixture
def companies() -> None:
    for ticker in ("SBUX", "AAPL", "AMZN", "BRK.B"):
        make_company(ticker)
    make_company("RAD", None, is_listed=False)


def test_an_upload_approves_merchants_and_releases_waiting_transactions(companies):
    user = make_user()
    make_transaction(user, "CORNER CAFE", merchant_key="CORNER CAFE")
    process_pending()
    assert Transaction.objects.get().status == "needs_review"
    imported = run(HEADER + "CORNER CAFE #12,Food,SBUX,,100\nCORNER CAFE #13,Food,SBUX,,100\nBAD,,NOPE,,\n")
    assert (imported.rows_added, imported.rows_rejected, imported.merchants_approved) == (2, 1, 1)
    merchant = Merchant.objects.get(merchant_key="CORNER CAFE")
    assert (merchant.status, merchant.ticker, merchant.source) == ("approved", "SBUX", "admin")
    assert Transaction.objects.get().status == "pending"
    decision = MappingDecision.objects.get()
    assert (decision.decided_by, decision.pk) == (imported.task.user, merchant.decision_id)
    assert set(LlmMapping.objects.values_list("source", "status", "merchant_key")) == {
        ("bulk", "approved", "CORNER CAFE")
    }
    assert "NOPE is not a listed company" in "".join(imported.rejects_csv())
    assert not MappingImportKey.objects.exists()


def test_a_merchant_for_which_purchases_of_the_uploader_wait_goes_to_another_reviewer(companies):
    make_merchant("CORNER CAFE", None, "proposed")
    uploader = make_staff()
    make_transaction(uploader, "CORNER CAFE", status="needs_review")
    run(HEADER + "CORNER CAFE,Food,SBUX,,100\n", actor=uploader)
    merchant = Merchant.objects.get()
    assert (merchant.status, merchant.decided_by) == ("proposed", None)
    assert merchant.reason == "The file has SBUX; purchases of its uploader wait for the decision."


def test_doubtful_merchants_go_to_a_reviewer(companies):
    make_merchant("DECIDED", "AAPL", decided_by=make_staff("first@kamioi.test"))
    make_merchant("REFUSED", None, "proposed", rejected_tickers=["AAPL"])
    make_merchant("RICH", None, "proposed", waiting_amount=Decimal(500))
    Setting.objects.update_or_create(key="four_eyes_limit", defaults={"value": "100"})
    imported = run(
        HEADER
        + "DECIDED,,SBUX,,\nREFUSED,,AAPL,,\nRICH,,AAPL,,\nTWO MINDS,,SBUX,,\nTWO MINDS,,AAPL,,\nUNSURE,,AAPL,,40\n"
        "SUBWAY 1234,,SBUX,,\nTRADER JOE'S #5,,AMZN,,\nDELISTED,,RAD,,\n"
    )
    assert (imported.merchants_kept, imported.merchants_approved, imported.rows_rejected) == (1, 0, 1)
    states = dict(Merchant.objects.values_list("merchant_key", "status"))
    assert states.pop("DECIDED") == "approved"
    assert set(states.values()) == {"proposed"}
    reasons = dict(Merchant.objects.values_list("merchant_key", "reason"))
    assert "rejected for this merchant before" in reasons["REFUSED"]
    assert "two reviewers" in reasons["RICH"]
    assert "several companies" in reasons["TWO MINDS"]
    assert "only 40%" in reasons["UNSURE"]
    assert "catalogue has" in reasons["SUBWAY"]
    assert Merchant.objects.get(merchant_key="DECIDED").ticker == "AAPL"


def test_the_same_file_is_imported_once(companies):
    run(HEADER + "CORNER CAFE,,SBUX,,\n")
    with pytest.raises(MappingFileError, match="was imported on"):
        run(HEADER + "CORNER CAFE,,SBUX,,\n", name="again.csv")


def test_an_import_resumes_after_a_crash(companies, monkeypatch):
    monkeypatch.setattr(mapping_imports, "BATCH", 3)
    monkeypatch.setattr(mapping_imports, "MERCHANTS", 2)
    text = HEADER + "".join(f"SHOP NUMBER{chr(65 + n)},,SBUX,,\n" for n in range(10))
    imported = upload_mapping_file(filename="m.csv", content=ContentFile(text.encode()), actor=make_staff(), send=False)

    class Killed(BaseException):
        pass

    def crash(rows: int) -> None:
        if rows >= 6:
            raise Killed

    with pytest.raises(Killed):
        run_mapping_import(task_id=imported.task_id, on_progress=crash)
    imported.task.refresh_from_db()
    imported.task.status = "queued"
    imported.task.save()
    result = run_mapping_import(task_id=imported.task_id)
    assert (result.rows_done, result.rows_added, result.merchants_approved) == (10, 10, 10)
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


def test_staff_without_permission_cannot_upload(client):
    client.force_login(make_user("clerk2@kamioi.test", is_staff=True))
    assert client.get(reverse("admin:llm_center_mappingimport_upload")).status_code == 403
    assert client.get(reverse("admin:llm_center_llmmapping_export")).status_code == 403

"""Answered questions hold for later files of the same customer, account and layout."""

import io

import pytest
from django.core.management import CommandError, call_command

from tests.factories import api_client, make_user
from tests.transactions.services.statements import counts, import_statement, stored_rows
from transactions.errors import StatementQuestionsError
from transactions.models import ImportProfile, User

pytestmark = pytest.mark.django_db

HEADER = "Date,Description,Amount\n"
OPEN = HEADER + "03.09.2026,QUILL,45.10\n05.10.2026,LANTERN,-9.25\n"
ANSWERS = {"date_order": "dmy", "spending": "negative"}


@pytest.fixture
def user() -> User:
    return make_user("ann@example.com")


def _questions(user: User, text: str, filename: str = "bank.csv") -> list[str]:
    with pytest.raises(StatementQuestionsError) as raised:
        import_statement(user, text, filename)
    return [question.key for question in raised.value.questions]


def test_an_answer_holds_for_the_next_file(user):
    assert _questions(user, OPEN) == ["date_order", "spending"]
    import_statement(user, OPEN, **ANSWERS)
    assert ImportProfile.objects.get().answers == ANSWERS
    later = HEADER + "04.10.2026,RIDE,18.40\n06.11.2026,QUILL,-3.00\n"
    assert counts(import_statement(user, later)) == (2, 0, 0)
    assert [row[:2] for row in stored_rows(user)][1:3] == [("2026-10-04", "-18.40"), ("2026-10-05", "9.25")]


def test_an_answer_is_only_for_the_customer_the_account_and_the_layout(user):
    import_statement(user, OPEN, "checking_x1234.csv", **ANSWERS)
    assert _questions(make_user(), OPEN, "checking_x1234.csv")
    assert _questions(user, OPEN, "card_x9876.csv")
    assert _questions(user, OPEN)
    assert _questions(user, OPEN.replace("Description", "Payee"), "checking_x1234.csv")
    assert counts(import_statement(user, OPEN, "checking_x1234 (1).csv")) == (0, 2, 0)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("03.25.2026,QUILL,-45.10\n", ["date_order"]),  # month first
        ("03.09.2026,ACME INC PAYROLL,-1200.00\n05.10.2026,LANTERN,9.25\n", ["spending"]),  # minus is money in
    ],
)
def test_a_file_that_contradicts_the_answer_is_asked_about_again(user, text, asked):
    import_statement(user, OPEN, **ANSWERS)
    with pytest.raises(StatementQuestionsError, match="contradicts the answer for an earlier one") as raised:
        import_statement(user, HEADER + text)
    assert [question.key for question in raised.value.questions] == asked
    assert len(stored_rows(user)) == 2


def test_a_new_answer_replaces_the_earlier_one(user):
    import_statement(user, OPEN, **ANSWERS)
    import_statement(user, HEADER + "03.25.2026,QUILL,-45.10\n", date_order="mdy")
    assert ImportProfile.objects.get().answers == {"date_order": "mdy", "spending": "negative"}


def test_american_slashes_do_not_contradict_the_answer(user):
    import_statement(user, HEADER + "03/09/2026,QUILL,-45.10\n", **ANSWERS)
    import_statement(user, HEADER + "04/09/2026,QUILL,-45.10\n")
    assert [day for day, *_ in stored_rows(user)] == ["2026-09-03", "2026-09-04"]


def test_the_chosen_amount_column_is_remembered_unless_the_balance_proves_another(user):
    rivals = "Date,Description,Amount,Amount\n10/03/2026,QUILL,-5.00,-4.10\n10/04/2026,LANTERN,-6.00,-5.20\n"
    assert _questions(user, rivals) == ["columns"]
    import_statement(user, rivals, columns="amount=4")
    import_statement(user, rivals.replace("QUILL", "RIDE"))
    assert {amount for _, amount, _ in stored_rows(user)} == {"4.10", "5.20"}


def test_a_contradicted_balance_is_not_remembered(user):
    import_statement(user, HEADER + "10/03/2026,QUILL,-45.10\n", balance="ignore")
    assert not ImportProfile.objects.exists()


def test_the_command_and_the_api_profit(user, tmp_path):
    path = tmp_path / "may.csv"
    path.write_text(OPEN)
    with pytest.raises(CommandError):
        call_command("ingest_statement", path, user=user.email, dry_run=True, stdout=io.StringIO())
    call_command("ingest_statement", path, user=user.email, stdout=io.StringIO(), **ANSWERS)
    out = io.StringIO()
    call_command("ingest_statement", path, user=user.email, dry_run=True, stdout=out)
    assert "as answered for an earlier file of this account" in out.getvalue()
    client = api_client(user)
    assert client.post("/api/transactions/bulk", OPEN, content_type="text/csv").status_code == 202
    address = "/api/transactions/bulk?account=Joint"
    assert client.post(address, OPEN, content_type="text/csv").status_code == 409

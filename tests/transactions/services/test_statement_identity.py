"""Accounts of statements, and which rows of two files are the same purchase."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b

import pytest

from tests.factories import make_user
from tests.transactions.services.statements import counts, import_statement, ofx, ofx_file, ofx_list, stored_rows
from tests.transactions.statements.helpers import FILES
from transactions.errors import StatementError, UnknownAccountError
from transactions.models import BankAccount, Transaction, TransactionKey, User
from transactions.services.bank_accounts import choose_account, find_or_add_account
from transactions.statements.accounts import AccountHint, account_of_filename, account_of_text

pytestmark = pytest.mark.django_db

HEADER = "Date,Description,Amount\n"
ROW = "10/24/2026,STREAMING,-15.49\n"
CASES = [case for case in json.loads((FILES / "cases" / "manifest.json").read_text()) if len(case["files"]) > 1]


@pytest.fixture
def user() -> User:
    return make_user(created_at=datetime(2020, 1, 1, tzinfo=UTC))


# --- Files of one customer, one after the other -----------------------------------------------------------------------
@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}: {case['shows']}" for case in CASES])
def test_the_files_of_a_customer_are_booked_once(user, case):
    refused = 0
    for name in case["files"]:
        try:
            import_statement(user, (FILES / "cases" / name).read_bytes(), name)
        except StatementError:
            refused += 1
    rows = Transaction.objects.filter(user=user)
    found = sorted((f"{row.date:%Y-%m-%d}", str(row.amount)) for row in rows.exclude(status="on_hold"))
    if refused and not found and case["refuse"] in ("may", "must"):
        return
    assert found == sorted(tuple(row) for row in case["rows"])
    held = rows.filter(status="on_hold")
    assert all(row.related_id for row in held)
    assert bool(held) == (case["id"] == 240)  # the same account as CSV and as OFX
    if not refused:
        again = [import_statement(user, (FILES / "cases" / name).read_bytes(), name) for name in case["files"]]
        assert [imported.rows_added for imported in again] == [0] * len(again)


# --- Accounts ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "number", "last_four", "name", "kind"),
    [
        ("000123456789", "000123456789", "6789", "", "other"),
        ("4111-1111 1111 1234", "4111111111111234", "1234", "", "other"),
        ("************1234", "", "1234", "", "other"),
        ("Checking ...1234", "", "1234", "", "checking"),
        ("x1234", "", "1234", "", "other"),
        ("1234", "", "1234", "", "other"),
        ("111", "111", "111", "", "other"),
        ("Joint Savings", "", "", "Joint Savings", "savings"),
        ("DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "3000", "", "other"),
    ],
)
def test_a_text_names_an_account(text, number, last_four, name, kind):
    hint = account_of_text(text)
    assert (hint.number, hint.last_four, hint.name, hint.kind) == (number, last_four, name, kind)


@pytest.mark.parametrize(
    ("filename", "account"),
    [
        ("checking_x1234.csv", ("1234", "checking")),
        ("Chase1234_Activity_20261101.CSV", ("1234", "other")),
        ("card ending in 9876 (2).csv", ("9876", "card")),
        ("savings-acct_4455.ofx", ("4455", "savings")),
        ("statement_2026.csv", None),
        ("export20261101.csv", None),
        ("card_2026.csv", None),
        ("Box1234.csv", None),
        ("checking.csv", None),
    ],
)
def test_a_file_name_names_an_account_only_by_marked_digits(filename, account):
    hint = account_of_filename(filename)
    assert (hint and (hint.last_four, hint.kind)) == account


def test_the_number_of_an_account_is_not_stored(user):
    import_statement(user, ofx(("20261003", "-45.10", "F1", "QUILL"), account="000987654321"), "a.ofx")
    account = BankAccount.objects.get()
    assert (account.kind, account.currency, account.last_four, str(account)) == (
        "checking",
        "USD",
        "4321",
        "Checking …4321",
    )
    assert "98765" not in " ".join(str(value) for value in vars(account).values())
    assert Transaction.objects.get().bank_account_id == account.pk


def test_last_digits_and_the_number_that_ends_in_them_are_one_account(user):
    digits = find_or_add_account(user=user, hint=AccountHint(last_four="1234", kind="checking"))
    number = AccountHint(number="9991234", last_four="1234", kind="checking")
    assert find_or_add_account(user=user, hint=number) == digits
    other = find_or_add_account(user=user, hint=AccountHint(number="8881234", last_four="1234", kind="checking"))
    assert other != digits
    assert find_or_add_account(user=user, hint=number) == digits
    assert find_or_add_account(user=user, hint=AccountHint(last_four="1234")) is None, "it may be either"
    card = find_or_add_account(user=user, hint=AccountHint(last_four="1234", kind="card"))
    assert card not in (digits, other, None)
    assert find_or_add_account(user=make_user(), hint=number) != digits


def test_a_person_chooses_an_account_by_name_or_last_digits(user):
    joint = choose_account(user=user, text="Joint")
    assert choose_account(user=user, text=" joint ") == joint
    first = find_or_add_account(user=user, hint=AccountHint(number="9991234", last_four="1234", kind="checking"))
    assert choose_account(user=user, text="x1234") == choose_account(user=user, text="Checking …1234") == first
    find_or_add_account(user=user, hint=AccountHint(number="8881234", last_four="1234", kind="savings"))
    with pytest.raises(UnknownAccountError, match="more than one account"):
        choose_account(user=user, text="1234")
    assert choose_account(user=user, text="checking x1234") == first


def test_free_text_in_an_account_column_does_not_add_accounts_without_end(user):
    rows = "".join(f"10/24/2026,SHOP,-1.00,Note {number}\n" for number in range(150))
    assert import_statement(user, "Date,Description,Amount,Account\n" + rows).rows_added == 150
    assert BankAccount.objects.count() == 100


def test_one_ofx_file_may_hold_several_accounts_and_currencies(user):
    file = ofx_file(
        ofx_list(("20261003", "-45.10", "F1", "QUILL"), account="0001111"),
        ofx_list(("20261003", "-45.10", "F1", "QUILL"), account="0002222"),
        ofx_list(("20261003", "-9.25", "F2", "LANTERN"), account="0003333", currency="EUR"),
    )
    done = import_statement(user, file, "all.ofx")
    assert counts(done) == (2, 0, 1)
    reject = done.rejects.get()
    assert (reject.field, reject.reason) == ("currency", "the statement is in EUR, not US dollars")
    names: dict[int | None, str] = {account.pk: account.last_four for account in BankAccount.objects.all()}
    assert sorted(names[row.bank_account_id] for row in Transaction.objects.all()) == ["1111", "2222"]
    with pytest.raises(StatementError, match="several accounts"):
        import_statement(user, file, "all.ofx", account="Joint")


# --- Identity within an account ---------------------------------------------------------------------------------------
def test_equal_rows_of_two_accounts_are_two_purchases(user):
    for name in ("checking_x1234.csv", "card_x9876.csv"):
        assert counts(import_statement(user, HEADER + ROW, name)) == (1, 0, 0)
        assert counts(import_statement(user, HEADER + ROW, name)) == (0, 1, 0)
    assert [status for *_, status in stored_rows(user)] == ["pending", "pending"]
    assert len({row.bank_account_id for row in Transaction.objects.all()}) == 2


def test_a_chosen_account_identifies_like_the_name_of_the_file(user):
    import_statement(user, HEADER + ROW, "checking_x1234.csv")
    assert counts(import_statement(user, HEADER + ROW, "export.csv", account="x1234")) == (0, 1, 0)
    assert counts(import_statement(user, HEADER + ROW, "export.csv", account="Joint")) == (1, 0, 0)


def test_a_chosen_account_is_recognised_by_the_number_of_its_next_file(user):
    joint = choose_account(user=user, text="Joint")
    import_statement(user, ofx(("20261003", "-45.10", "F1", "QUILL")), "a.ofx", account="Joint")
    import_statement(user, ofx(("20261004", "-45.10", "F2", "QUILL")), "b.ofx")
    assert {row.bank_account_id for row in Transaction.objects.all()} == {joint.pk}


def _before_accounts(user: User, **fields: str) -> Transaction:
    """Store a row as versions before accounts did: its key contains the bank's reference, no column the account."""
    when = datetime(2026, 10, 24, tzinfo=UTC)
    parts = [when.isoformat(), fields["amount"], fields["merchant"], fields["merchant"], fields["reference"]]
    identity = "\x1f".join(parts + ([fields["account"]] if fields["account"] else []))
    fingerprint = f"{date(2026, 10, 24).toordinal():08x}{blake2b(identity.encode(), digest_size=12).hexdigest()}"
    row = Transaction.objects.create(
        user=user,
        date=when,
        merchant=fields["merchant"],
        merchant_key=fields["merchant"],
        amount=Decimal(fields["amount"]),
        total_debit=Decimal(fields["amount"]),
        source="statement",
    )
    uuid = f"{fingerprint[:8]}-{fingerprint[8:12]}-{fingerprint[12:16]}-{fingerprint[16:20]}-{fingerprint[20:]}"
    TransactionKey.objects.create(transaction_id=row.pk, user=user, date=when, idempotency_key=f"{uuid}.1")
    return row


@pytest.mark.parametrize(
    ("file", "name", "reference", "account"),
    [
        (HEADER + ROW, "bank.csv", "", ""),
        (HEADER + ROW, "checking_x1234.csv", "", ""),
        (f"Date,Description,Amount,Reference\n{ROW.strip()},R1\n", "bank.csv", "R1", ""),
        (f"Date,Description,Amount,Reference\n{ROW.strip()},R1\n", "checking_x1234.csv", "R1", ""),
        (f"Date,Description,Amount,Card No.\n{ROW.strip()},1111\n", "bank.csv", "", "1111"),
        (f"Date,Description,Amount,Reference,Card No.\n{ROW.strip()},R1,1111\n", "bank.csv", "R1", "1111"),
    ],
)
def test_a_file_imported_before_accounts_were_known_adds_nothing(user, file, name, reference, account):
    _before_accounts(user, merchant="STREAMING", amount="15.49", reference=reference, account=account)
    assert counts(import_statement(user, file, name)) == (0, 1, 0)
    assert Transaction.objects.count() == 1


@pytest.mark.parametrize("name", ["bank.csv", "checking_x1234.csv"])
def test_a_row_that_is_known_from_before_is_not_the_counterpart_of_another(user, name):
    _before_accounts(user, merchant="TRANSIT TAP", amount="6.76", reference="", account="")
    file = HEADER + "10/24/2026,TRANSIT TAP,-6.76\n10/25/2026,TRANSIT TAP,-6.76\n"
    assert counts(import_statement(user, file, name)) == (1, 1, 0)
    assert [status for *_, status in stored_rows(user)] == ["pending", "pending"]


def test_a_row_of_a_file_without_account_is_possibly_the_same_as_that_of_an_account(user):
    import_statement(user, HEADER + ROW, "export.csv")
    done = import_statement(user, HEADER + ROW, "checking_x1234.csv")
    assert counts(done) == (1, 0, 0)
    first, second = Transaction.objects.order_by("pk")
    assert (second.status, second.related_id) == ("on_hold", first.pk)


def test_ids_that_change_with_every_download_are_not_used(user):
    first = ofx(("20261003", "-45.10", "A1", "QUILL"), ("20261003", "-45.10", "A2", "QUILL"))
    again = ofx(
        ("20261003", "-45.10", "B1", "QUILL"),
        ("20261003", "-45.10", "B2", "QUILL"),
        ("20261003", "-45.10", "B3", "QUILL"),
    )
    assert counts(import_statement(user, first, "a.ofx")) == (2, 0, 0)
    assert counts(import_statement(user, again, "b.ofx")) == (1, 2, 0)
    assert [status for *_, status in stored_rows(user)] == ["pending"] * 3


def test_a_known_id_with_the_same_day_and_amount_is_the_same_row_in_other_words(user):
    import_statement(user, ofx(("20261003", "-45.10", "F1", "QUILL PENDING")), "a.ofx")
    assert counts(import_statement(user, ofx(("20261003", "-45.10", "F1", "Quill, Main St")), "b.ofx")) == (0, 1, 0)
    other_account = ofx(("20261003", "-45.10", "F1", "Quill, Main St"), account="0002222")
    assert counts(import_statement(user, other_account, "c.ofx")) == (1, 0, 0)


@pytest.mark.parametrize("row", [("20261003", "-45.11", "F1", "QUILL"), ("20261004", "-45.10", "F1", "QUILL")])
def test_an_id_with_another_amount_or_day_is_no_id(user, row):
    import_statement(user, ofx(("20261003", "-45.10", "F1", "QUILL")), "a.ofx")
    assert counts(import_statement(user, ofx(row), "b.ofx")) == (1, 0, 0)


def test_an_id_that_repeats_for_different_rows_is_no_id(user):
    rows = [("20261003", "-5.00", "1", "QUILL"), ("20261003", "-5.00", "1", "LANTERN")]
    assert counts(import_statement(user, ofx(*rows), "a.ofx")) == (2, 0, 0)
    more = [*rows, ("20261003", "-5.00", "1", "RIDE")]
    assert counts(import_statement(user, ofx(*more), "b.ofx")) == (1, 2, 0)
    two = [("20261005", "-5.00", "1", "QUILL"), ("20261005", "-5.00", "1", "LANTERN")]
    import_statement(user, ofx(two[0]), "c.ofx")
    assert counts(import_statement(user, ofx(*two), "d.ofx")) == (1, 1, 0)


# --- Corrections of the bank ------------------------------------------------------------------------------------------
REPLACES = "<CORRECTFITID>F1<CORRECTACTION>REPLACE"
DELETES = "<CORRECTFITID>F1<CORRECTACTION>DELETE"
FIRST = ("20261003", "-45.10", "F1", "QUILL")


def test_a_correction_replaces_what_nothing_was_bought_for(user):
    first, second = ofx(FIRST), ofx(("20261003", "-40.00", "F9", "QUILL MARKET", REPLACES))
    import_statement(user, first, "a.ofx")
    assert counts(import_statement(user, second, "b.ofx")) == (1, 0, 0)
    row = Transaction.objects.get()
    assert (str(row.amount), str(row.total_debit), row.merchant, row.status) == (
        "40.00",
        "40.00",
        "QUILL MARKET",
        "pending",
    )
    assert counts(import_statement(user, second, "b.ofx")) == (0, 1, 0)
    assert counts(import_statement(user, first, "a.ofx")) == (0, 1, 0)
    assert Transaction.objects.count() == 1


def test_a_correction_in_the_same_file_is_booked_once(user):
    file = ofx(FIRST, ("20261003", "-40.00", "F9", "QUILL", REPLACES))
    done = import_statement(user, file, "a.ofx")
    assert counts(done) == (1, 0, 1)
    assert done.rejects.get().reason == "replaced or deleted by the bank in row 2"
    assert stored_rows(user) == [("2026-10-03", "40.00", "pending")]
    assert counts(import_statement(user, file, "a.ofx")) == (0, 1, 1)


def test_a_deleted_row_is_excluded(user):
    import_statement(user, ofx(FIRST), "a.ofx")
    done = import_statement(user, ofx(("20261003", "-45.10", "F9", "QUILL", DELETES)), "b.ofx")
    assert counts(done) == (0, 0, 1)
    assert done.rejects.get().reason == "deletes the record “F1”, which is now excluded"
    row = Transaction.objects.get()
    assert (row.status, row.row_class) == ("excluded", "withdrawn")


@pytest.mark.parametrize(
    ("status", "fields", "reason"),
    [
        ("refunded", {}, "corrects the record “F1”, which is already processed; correct it by hand"),
        ("failed", {"failure_reason": "x"}, "corrects the record “F1”, which has failed; correct it by hand"),
        (
            "needs_review",
            {},
            "corrects the record “F1”, whose merchant awaits review; import the file again after the decision",
        ),
        (None, {}, "corrects the record “F1”, which was not imported"),
    ],
)
def test_what_cannot_be_corrected_automatically_is_rejected_with_the_reason(user, status, fields, reason):
    if status:
        import_statement(user, ofx(FIRST), "a.ofx")
        Transaction.objects.update(status=status, **fields)
    done = import_statement(user, ofx(("20261003", "-40.00", "F9", "QUILL", REPLACES)), "b.ofx")
    assert counts(done) == (0, 0, 1)
    assert done.rejects.get().reason == reason
    assert [amount for _, amount, _ in stored_rows(user)] == (["45.10"] if status else [])

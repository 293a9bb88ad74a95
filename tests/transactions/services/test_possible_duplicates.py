"""The same purchase from two sources is held, shown and decided; it is neither booked nor dropped."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection

from tests.factories import make_staff, make_user
from tests.transactions.services.statements import counts, import_statement, ofx, stored_rows
from transactions.models import Transaction, TransactionDelta, User
from transactions.services.ingest import create_transaction
from transactions.services.possible_duplicates import decide_possible_duplicates
from transactions.services.processing import reclassify_transactions, settle_held_purchases

pytestmark = pytest.mark.django_db

HEADER = "Date,Description,Amount\n"


@pytest.fixture
def user() -> User:
    return make_user(created_at=datetime(2020, 1, 1, tzinfo=UTC))


def _api(user: User, merchant: str, amount: str, day: int, **fields: str):
    when = datetime(2026, 10, day, 15, tzinfo=UTC)
    return create_transaction(user=user, amount=Decimal(amount), merchant=merchant, date=when, **fields)


def _held(user: User) -> dict[int, int | None]:
    rows = Transaction.objects.filter(user=user, status="on_hold")
    return dict(rows.order_by("date", "id").values_list("pk", "related_id"))


def _totals() -> dict[str, tuple[int, Decimal]]:
    """Return rows and dollars by status, as the deltas have them."""
    totals: dict[str, tuple[int, Decimal]] = {}
    for delta in TransactionDelta.objects.all():
        rows, amount = totals.get(delta.status, (0, Decimal(0)))
        totals[delta.status] = rows + delta.rows, amount + delta.amount
    return {status: total for status, total in totals.items() if total[0]}


def test_the_same_account_as_csv_and_as_ofx_is_held_one_to_one(user):
    import_statement(user, HEADER + "10/03/2026,QUILL MARKET,-45.10\n10/03/2026,QUILL MARKET,-45.10\n", "a.csv")
    first, second = Transaction.objects.order_by("pk").values_list("pk", flat=True)
    rows = [("20261003", "-45.10", f"F{number}", "QUILL MARKET #0042") for number in range(3)]
    assert counts(import_statement(user, ofx(*rows), "a.ofx")) == (3, 0, 0)
    assert sorted(other or 0 for other in _held(user).values()) == [first, second], "two pairs; the third is a purchase"
    assert _totals() == {"pending": (3, Decimal("135.30")), "on_hold": (2, Decimal("90.20"))}
    assert counts(import_statement(user, ofx(*rows), "a.ofx")) == (0, 3, 0)
    # The counterparts are taken: one more equal row is a purchase.
    more = ofx(*rows, ("20261003", "-45.10", "F9", "QUILL MARKET #0042"))
    assert counts(import_statement(user, more, "b.ofx")) == (1, 3, 0)
    assert len(_held(user)) == 2


@pytest.mark.parametrize(
    ("merchant", "amount", "day", "is_held"),
    [
        ("QUILL MARKET", "45.10", 3, True),
        ("QUILL", "45.10", 3, True),
        ("POS DEBIT QUILL MARKET OAKLAND CA", "45.10", 3, True),
        ("QUILL STATIONERS", "45.10", 3, True),
        ("QUILL MARKET", "45.10", 2, True),
        ("QUILL MARKET", "45.10", 4, True),
        ("QUILL MARKET", "45.10", 5, False),
        ("QUILL MARKET", "45.11", 3, False),
        ("LANTERN", "45.10", 3, False),
        ("QUILL MARKET", "-45.10", 3, False),
    ],
)
def test_a_purchase_of_the_api_is_compared_with_files_and_a_file_with_the_api(user, merchant, amount, day, is_held):
    import_statement(user, HEADER + "10/03/2026,QUILL MARKET,-45.10\n10/09/2026,OTHER,-1.00\n", "a.csv")
    created = _api(user, merchant, amount, day)
    assert created.status == ("on_hold" if is_held else "pending")
    other = make_user(created_at=user.created_at)
    sent = _api(other, merchant, amount, day)
    import_statement(other, HEADER + "10/03/2026,QUILL MARKET,-45.10\n10/09/2026,OTHER,-1.00\n", "a.csv")
    assert list(_held(other).values()) == ([sent.transaction_id] if is_held else [])


def test_two_purchases_of_the_api_have_two_counterparts(user):
    import_statement(user, HEADER + "10/03/2026,QUILL,-5.00\n10/03/2026,QUILL,-5.00\n", "a.csv")
    assert [_api(user, "QUILL", "5.00", 3).status for _ in range(3)] == ["on_hold", "on_hold", "pending"]
    assert len(set(_held(user).values())) == 2
    assert _totals() == {"pending": (3, Decimal(15)), "on_hold": (2, Decimal(10))}


def test_a_repeated_request_of_a_held_purchase_stores_nothing(user):
    import_statement(user, HEADER + "10/03/2026,QUILL,-5.00\n10/09/2026,OTHER,-1.00\n", "a.csv")
    first, again = (_api(user, "QUILL", "5.00", 3, idempotency_key="k") for _ in range(2))
    assert (again.transaction_id, again.status, again.created) == (first.transaction_id, "on_hold", False)


def test_a_source_that_posts_everything_a_day_later_is_matched_in_order(user):
    import_statement(user, HEADER + "".join(f"10/{day:02d}/2026,TRANSIT TAP,-6.76\n" for day in (13, 14, 15)), "a.csv")
    rows = [(f"202610{day}", "-6.76", f"F{day}", "TRANSIT TAP") for day in (14, 15, 16)]
    import_statement(user, ofx(*rows), "a.ofx")
    assert len(_held(user)) == 3
    other = make_user(created_at=user.created_at)
    import_statement(other, HEADER + "".join(f"10/{day:02d}/2026,TRANSIT TAP,-6.76\n" for day in (13, 14, 15)), "a.csv")
    import_statement(other, ofx(*rows[:2]), "a.ofx")
    days = dict(Transaction.objects.filter(user=other).values_list("pk", "date__date"))
    assert all(days[held] == days[found or 0] for held, found in _held(other).items()), (
        "the same day where there is one"
    )


def test_the_next_file_of_the_same_layout_is_no_other_source(user):
    import_statement(user, HEADER + "10/13/2026,TRANSIT TAP,-6.76\n", "a.csv")
    assert counts(import_statement(user, HEADER + "10/14/2026,TRANSIT TAP,-6.76\n", "b.csv")) == (1, 0, 0)
    assert not _held(user)
    other_layout = "Posted,Payee,Value\n10/14/2026,TRANSIT TAP,-6.76\n10/15/2026,TRANSIT TAP,-6.76\n"
    assert counts(
        import_statement(user, other_layout.replace("Value", "Amount").replace("Posted", "Date"), "c.csv")
    ) == (2, 0, 0)
    assert len(_held(user)) == 2


def test_two_known_accounts_have_no_common_purchases(user):
    import_statement(user, HEADER + "10/03/2026,STREAMING,-15.49\n10/09/2026,OTHER,-1.00\n", "checking_x1234.csv")
    import_statement(user, ofx(("20261003", "-15.49", "F1", "STREAMING"), account="0009876"), "a.ofx")
    assert not _held(user)
    import_statement(user, ofx(("20261003", "-15.49", "F1", "STREAMING"), account="0001234"), "b.ofx")
    assert len(_held(user)) == 1


def test_rows_that_are_no_purchases_are_not_held(user):
    import_statement(
        user, HEADER + "10/03/2026,ONLINE TRANSFER TO SAV ...1234,-50.00\n10/09/2026,OTHER,-1.00\n", "a.csv"
    )
    import_statement(user, ofx(("20261003", "-50.00", "F1", "ONLINE TRANSFER TO SAV ...1234")), "a.ofx")
    assert [status for *_, status in stored_rows(user)] == ["excluded", "excluded", "pending"]


def test_as_many_equal_amounts_as_a_file_may_have_cost_no_more_than_its_rows(user):
    names = [f"SHOP{number:05d}" for number in range(3_000)]
    import_statement(user, HEADER + "".join(f"10/03/2026,{name},-1.00\n" for name in names), "a.csv")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '5s'")
        rows = [("20261003", "-1.00", f"F{number}", name) for number, name in enumerate(names)]
        done = import_statement(user, ofx(*rows), "a.ofx")
    assert done.rows_added == 3_000
    assert len(_held(user)) == len(set(_held(user).values())) == 3_000


# --- Decisions --------------------------------------------------------------------------------------------------------
@pytest.fixture
def held(user) -> Transaction:
    import_statement(user, HEADER + "10/03/2026,QUILL,-5.00\n10/09/2026,OTHER,-1.00\n", "a.csv")
    return Transaction.objects.get(pk=_api(user, "QUILL", "5.00", 3).transaction_id)


def test_both_are_kept_or_one_is_excluded(user, held):
    assert decide_possible_duplicates(transaction_ids=[held.pk], decision="same", actor=user, customer=user) == 1
    held.refresh_from_db()
    assert (held.status, held.row_class, held.failure_reason) == ("excluded", "duplicate", "")
    assert held.related_id, "the other purchase stays known"
    assert _totals() == {"pending": (2, Decimal(6)), "excluded": (1, Decimal(5))}
    assert "same purchase as another" in LogEntry.objects.get(user=user).change_message
    # Final for the customer; staff may take it back.
    assert decide_possible_duplicates(transaction_ids=[held.pk], decision="keep", actor=user, customer=user) == 0
    assert decide_possible_duplicates(transaction_ids=[held.pk], decision="keep", actor=make_staff()) == 1
    held.refresh_from_db()
    assert (held.status, held.row_class, held.related_id) == ("pending", "", None)
    assert decide_possible_duplicates(transaction_ids=[held.pk], decision="same", actor=user, customer=user) == 0
    assert decide_possible_duplicates(transaction_ids=[held.pk], decision="same", actor=make_staff()) == 1


def test_a_decided_purchase_is_not_held_again(user, held):
    decide_possible_duplicates(transaction_ids=[held.pk], decision="keep", actor=user, customer=user)
    import_statement(user, HEADER + "10/03/2026,QUILL,-5.00\n10/09/2026,OTHER,-1.00\n", "a.csv")
    assert not _held(user)


def test_customers_decide_about_their_own_held_rows_only(user, held):
    other = make_user()
    assert decide_possible_duplicates(transaction_ids=[held.pk], decision="keep", actor=other, customer=other) == 0
    pending = Transaction.objects.get(merchant="OTHER")
    assert decide_possible_duplicates(transaction_ids=[pending.pk], decision="same", actor=user, customer=user) == 0


def test_a_verified_address_does_not_release_a_possible_duplicate(user, held):
    assert settle_held_purchases(user_id=user.pk) == 0
    held.refresh_from_db()
    assert held.status == "on_hold"
    assert settle_held_purchases(user_id=user.pk, cancel=True) == 1


def test_treating_a_possible_duplicate_as_a_purchase_keeps_both(user, held):
    assert reclassify_transactions(transaction_ids=[held.pk], row_class="", actor=make_staff()) == 1
    held.refresh_from_db()
    assert (held.status, held.failure_reason) == ("pending", "")

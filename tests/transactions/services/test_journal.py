"""Journal entries: who may post and reverse above the limit, allowed dates, and a bank that is never overdrawn."""

import threading
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.utils import timezone

from analytics.services.ledger_days import update_ledger_days
from tests.analytics.rows import NOW, settle_ledger
from tests.factories import make_staff
from tests.workers import wait_until
from transactions.errors import (
    BankOverdrawnError,
    EntryAlreadyBookedError,
    InvalidEntryError,
    SecondPersonRequiredError,
)
from transactions.models import JournalDraft, JournalEntry, JournalReversal, LedgerTransfer, Setting, User
from transactions.services.journal import Line, create_entry, delete_or_reverse_entry, update_entry
from transactions.services.ledger_verification import find_ledger_problems

pytestmark = pytest.mark.django_db
LIMIT = Decimal("10000.00")


@pytest.fixture
def ann() -> User:
    return make_staff("ann@example.com")


@pytest.fixture
def bob() -> User:
    return make_staff("bob@example.com")


def enter(
    actor: User,
    amount: str | int | Decimal,
    *,
    debit: str = "10100",
    credit: str = "30900",
    post: bool = True,
    days_ago: int = 0,
) -> JournalDraft | JournalEntry:
    """Create an entry; by default capital is paid into the bank."""
    return create_entry(
        fields={"entry_date": timezone.now().date() - timedelta(days=days_ago)},
        lines=[Line(debit, Decimal(amount), Decimal(0)), Line(credit, Decimal(0), Decimal(amount))],
        actor=actor,
        post=post,
    )


def pay(actor: User, amount: str) -> JournalDraft | JournalEntry:
    """Create an entry that takes from the bank."""
    return enter(actor, amount, debit="67010", credit="10100")


def post(draft: JournalDraft | JournalEntry, actor: User) -> JournalDraft | JournalEntry:
    return update_entry(entry_id=draft.pk, fields={}, lines=None, actor=actor, post=True)


def reverse(entry: JournalDraft | JournalEntry, actor: User) -> JournalEntry | None:
    return delete_or_reverse_entry(entry_id=entry.pk, actor=actor)


class TestPosting:
    def test_an_entry_keeps_the_number_of_its_draft(self, ann: User, bob: User) -> None:
        draft, other = enter(ann, 5, post=False), enter(ann, 6)
        entry = post(draft, bob)
        assert (entry.number, entry.created_by, entry.posted_by) == (draft.number, ann, bob)
        assert other.number == f"JE-{draft.pk + 1}"
        assert not JournalDraft.objects.exists()
        assert set(LedgerTransfer.objects.values_list("reference", flat=True)) == {entry.number, other.number}

    def test_a_posted_entry_is_neither_changed_nor_posted_again(self, ann: User) -> None:
        entry = enter(ann, 5)
        with pytest.raises(EntryAlreadyBookedError):
            update_entry(entry_id=entry.pk, fields={"description": "x"}, lines=None, actor=ann, post=True)
        with pytest.raises(JournalEntry.DoesNotExist):
            update_entry(entry_id=entry.pk + 1, fields={}, lines=None, actor=ann, post=True)
        assert LedgerTransfer.objects.count() == 1

    def test_a_reversal_is_a_row_that_is_written_once(self, ann: User, bob: User) -> None:
        entry = enter(ann, 5, days_ago=9)
        reverse(entry, bob)
        reverse(entry, ann)
        assert JournalReversal.objects.get().reversed_by == bob
        days = LedgerTransfer.objects.order_by("pk").values_list("date__date", flat=True)
        assert list(days) == [entry.entry_date, timezone.now().date()]
        assert JournalEntry.objects.get().status == "reversed"
        assert list(find_ledger_problems()) == []

    def test_a_date_in_the_future_is_refused(self, ann: User) -> None:
        with pytest.raises(InvalidEntryError, match="between 2000-01-01 and today"):
            enter(ann, 5, days_ago=-2)
        assert not JournalDraft.objects.exists()


class TestFourEyes:
    def test_above_the_limit_an_entry_stays_a_draft_until_someone_else_posts_it(self, ann: User, bob: User) -> None:
        assert enter(ann, LIMIT).status == "posted"
        draft = enter(ann, LIMIT + Decimal("0.01"))
        with pytest.raises(SecondPersonRequiredError, match="journal_four_eyes_limit"):
            post(draft, ann)
        assert JournalDraft.objects.get().status == "draft"
        assert post(draft, bob).status == "posted"

    def test_the_person_who_last_changed_the_draft_cannot_post_it(self, ann: User, bob: User) -> None:
        draft = enter(ann, 50_000)
        lines = [Line("10100", Decimal(60_000), Decimal(0)), Line("30900", Decimal(0), Decimal(60_000))]
        with pytest.raises(SecondPersonRequiredError):
            update_entry(entry_id=draft.pk, fields={}, lines=lines, actor=bob, post=True)
        assert JournalDraft.objects.get().amount == 50_000  # unchanged
        update_entry(entry_id=draft.pk, fields={}, lines=lines, actor=bob, post=False)
        for author in (ann, bob):
            with pytest.raises(SecondPersonRequiredError):
                post(draft, author)
        assert post(draft, make_staff()).status == "posted"

    def test_posting_with_the_same_values_is_no_change(self, ann: User, bob: User) -> None:
        draft = enter(ann, 50_000)
        lines = [Line("10100", Decimal(50_000), Decimal(0)), Line("30900", Decimal(0), Decimal(50_000))]
        fields = {"entry_date": draft.entry_date, "description": ""}
        entry = update_entry(entry_id=draft.pk, fields=fields, lines=lines, actor=bob, post=True)
        assert (entry.status, entry.changed_by) == ("posted", None)

    def test_above_the_limit_someone_else_reverses(self, ann: User, bob: User) -> None:
        entry = post(enter(ann, 50_000), bob)
        with pytest.raises(SecondPersonRequiredError, match="did not post it"):
            reverse(entry, bob)
        assert JournalEntry.objects.get().status == "posted"
        for actor in (ann, bob):  # the second call does nothing
            reverse(entry, actor)
        assert JournalReversal.objects.get().reversed_by == ann
        assert LedgerTransfer.objects.count() == 2

    def test_an_entry_whose_poster_was_not_recorded_is_not_reversed_by_its_author(self, ann: User, bob: User) -> None:
        entry = JournalEntry.objects.create(
            pk=10**9, entry_date=timezone.now().date(), amount=50_000, lines=[], created_by=ann
        )
        with pytest.raises(SecondPersonRequiredError):
            reverse(entry, ann)

    def test_the_limit_can_be_changed_and_0_is_no_limit(self, ann: User) -> None:
        Setting.objects.filter(key="journal_four_eyes_limit").update(value="4.99")
        assert enter(ann, 5).status == "draft"
        Setting.objects.filter(key="journal_four_eyes_limit").update(value="0")
        assert enter(ann, 10**9).status == "posted"


class TestBank:
    def test_an_entry_takes_at_most_what_the_bank_has(self, ann: User) -> None:
        enter(ann, 100)
        with pytest.raises(
            BankOverdrawnError, match=r"has \$100\.00 .* takes \$100\.01: \$0\.01 is missing"
        ) as refused:
            pay(ann, "100.01")
        assert refused.value.details == {"balance": 100, "shortfall": Decimal("0.01")}
        assert JournalEntry.objects.count() == 1
        assert pay(ann, "100").status == "posted"
        assert list(find_ledger_problems()) == []

    def test_a_reversal_takes_at_most_what_the_bank_has(self, ann: User) -> None:
        capital = enter(ann, 100)
        pay(ann, "60")
        with pytest.raises(BankOverdrawnError, match=r"has \$40\.00"):
            reverse(capital, ann)
        assert not JournalReversal.objects.exists()

    def test_money_paid_into_an_overdrawn_bank_is_accepted(self, ann: User) -> None:
        LedgerTransfer.objects.create(
            date=timezone.now(), kind="broker_cash", debit_account="10200", credit_account="10100", amount=50
        )
        assert enter(ann, 20).status == "posted"
        with pytest.raises(BankOverdrawnError, match=r"has -\$30\.00"):
            pay(ann, "1")

    def test_the_balance_is_that_of_the_days_counted_and_of_the_rows_since(self, ann: User) -> None:
        enter(ann, 100, days_ago=40)
        pay(ann, "30")
        update_ledger_days(settle=NOW)
        settle_ledger()
        assert update_ledger_days(settle=NOW).counted_to == LedgerTransfer.objects.latest("pk").pk
        enter(ann, 5)
        with pytest.raises(BankOverdrawnError, match=r"has \$75\.00"):
            pay(ann, "75.01")
        assert pay(ann, "75").status == "posted"

    @pytest.mark.django_db(transaction=True, serialized_rollback=True)
    def test_of_two_entries_at_once_the_second_sees_the_first(self, ann: User) -> None:
        enter(ann, 100)
        outcome = list[str]()

        def pay_too() -> None:
            try:
                pay(ann, "60")
                outcome.append("posted")
            except BankOverdrawnError as error:
                outcome.append(str(error))
            finally:
                connection.close()

        second = threading.Thread(target=pay_too)
        with transaction.atomic():
            pay(ann, "60")
            second.start()
            wait_until("the second entry waits", _someone_waits)
        second.join()
        assert outcome == ["Bank (10100) has $40.00 and this entry takes $60.00: $20.00 is missing."]
        assert JournalEntry.objects.count() == 2
        assert not JournalDraft.objects.exists()

    @pytest.mark.django_db(transaction=True, serialized_rollback=True)
    def test_of_two_reversals_at_once_one_is_written(self, ann: User) -> None:
        entry = enter(ann, 100)

        def reverse_too() -> None:
            try:
                reverse(entry, ann)
            finally:
                connection.close()

        second = threading.Thread(target=reverse_too)
        with transaction.atomic():
            reverse(entry, ann)
            second.start()
            wait_until("the second reversal waits", _someone_waits)
        second.join()
        assert LedgerTransfer.objects.count() == 2
        assert list(find_ledger_problems()) == []


def _someone_waits() -> bool:
    """Return whether another session waits for a lock of this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
        )
        return bool(cursor.fetchone()[0])

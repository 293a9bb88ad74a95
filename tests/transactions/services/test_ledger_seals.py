"""Seals: every complete day once, in order, chained, and in a file outside the database."""

import json
import logging
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg2
import pytest
from django.conf import settings as django_settings
from django.db import ProgrammingError, connection
from django.utils import timezone

from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import AuditEvent, LedgerSeal, LedgerTransfer
from transactions.models.seals import FIRST_CHAIN
from transactions.services.ledger_seals import NO_ROWS, compute_days, read_file, seal_days
from transactions.services.processing import process_pending

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("days_end_at_midnight")]


def today() -> date:
    return timezone.now().astimezone(UTC).date()


def at(days_ago: int, hour: int = 12) -> datetime:
    return datetime.combine(today() - timedelta(days=days_ago), time(hour), UTC)


def post(days_ago: int, *, amount: str = "1.50", **fields) -> LedgerTransfer:
    """Post an entry of the company at noon of a day."""
    values = {"kind": "journal", "debit_account": "10100", "credit_account": "30900", "created_at": at(days_ago)}
    values["date"] = at(days_ago, 0)
    return LedgerTransfer.objects.create(amount=Decimal(amount), **(values | fields))


def test_every_day_up_to_yesterday_is_sealed_once_and_in_order() -> None:
    post(4)
    post(2, amount="3.00")
    post(0)

    sealed = seal_days()

    assert [seal.day for seal in sealed] == [today() - timedelta(days=back) for back in (4, 3, 2, 1)]
    assert [seal.rows for seal in sealed] == [1, 0, 1, 0]
    assert [seal.sums for seal in sealed] == [
        {"10100": "1.50", "30900": "-1.50"},
        {},
        {"10100": "3.00", "30900": "-3.00"},
        {},
    ]
    assert sealed[-1].balances == {"10100": "4.50", "30900": "-4.50"}
    assert [seal.digest == NO_ROWS for seal in sealed] == [False, True, False, True]
    chain = FIRST_CHAIN
    for seal in LedgerSeal.objects.order_by("day"):  # as stored
        chain = seal.chain_after(chain)
        assert seal.chain == chain
    assert seal_days() == []


def test_nothing_is_sealed_before_the_first_booking() -> None:
    assert seal_days() == []
    post(0)
    assert seal_days() == []


def test_a_row_belongs_to_the_day_on_which_it_was_written() -> None:
    post(3)
    post(1, date=at(60, 0))
    assert [seal.rows for seal in seal_days()] == [1, 0, 1]


def test_the_digest_does_not_depend_on_the_order_in_which_rows_are_stored() -> None:
    day = today() - timedelta(days=1)
    for pk in (3, 1, 2):
        post(1, pk=pk, amount=f"{pk}.00")
    first = compute_days(day, today())[day].digest
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL TimeZone = 'Asia/Tokyo'; SET LOCAL bytea_output = 'escape'")
    assert compute_days(day, today())[day].digest == first


@pytest.mark.as_owner
@pytest.mark.parametrize(
    "change",
    [
        "id = id + 1",
        "user_id = 1",
        "date = date + interval '1 microsecond'",
        "transaction_id = 1",
        "kind = 'journal_entry'",
        "debit_account = '10200'",
        "credit_account = '40100'",
        "amount = 1.51",
        "reference = 'x'",
        "created_at = created_at + interval '1 microsecond'",
    ],
)
def test_the_digest_covers_every_column(change: str) -> None:
    day = today() - timedelta(days=1)
    post(1)
    before = compute_days(day, today())[day].digest
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE ledger_transfers SET {change}")
    assert compute_days(day, today())[day].digest != before


def test_positions_are_carried_as_weighted_totals_that_holdings_reproduce() -> None:
    make_company("SBUX")
    make_merchant()
    make_transaction(make_user())
    make_transaction(make_user())
    process_pending()
    day = today()
    computed = compute_days(day, day + timedelta(days=1))[day]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(shares * w), sum(cost_basis * w) FROM (SELECT *, "
            "('x' || left(md5(user_id || ' ' || ticker), 15))::bit(60)::bigint AS w FROM holdings) AS weighted"
        )
        assert cursor.fetchone() == (computed.holdings, computed.cost)


def test_audit_events_are_counted_and_hashed_with_the_day() -> None:
    staff = make_staff()
    post(3)
    for days_ago in (3, 2, 2, 0):
        AuditEvent.objects.create(at=at(days_ago), user=staff, kind="change", action="POST x")
    sealed = seal_days()
    ids = list(AuditEvent.objects.order_by("pk").values_list("pk", flat=True))
    assert [seal.events for seal in sealed] == [1, 3, 3]
    assert [seal.last_event_id for seal in sealed] == [ids[0], ids[2], ids[2]]
    assert [seal.events_digest == NO_ROWS for seal in sealed] == [False, False, True]


def test_nothing_is_sealed_while_the_legacy_system_owns_the_data() -> None:
    post(2)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO legacy_source (path, state) VALUES ('/legacy.db', '{\"phase\": \"legacy\"}')")
        assert seal_days() == []
        cursor.execute('UPDATE legacy_source SET state = \'{"phase": "kamioi"}\'')
    assert len(seal_days()) == 2


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_day_waits_for_transactions_that_began_before_its_end(monkeypatch, caplog) -> None:
    """With yesterday's end moved to now, a transaction that is open began before it."""
    post(1)
    monkeypatch.setattr("transactions.services.ledger_seals.CLOCK_DIFFERENCE", timezone.now() - at(0, 0))
    other = psycopg2.connect(django_settings.DATABASE_URL, dbname=connection.settings_dict["NAME"])
    with other.cursor() as cursor:
        cursor.execute("SELECT 1")  # opens a transaction that may write yet
        monkeypatch.setattr("transactions.services.ledger_seals.CLOCK_DIFFERENCE", timezone.now() - at(0, 0))
        with caplog.at_level(logging.WARNING):
            assert seal_days() == []
        assert "not sealed yet" in caplog.text
        other.rollback()
    other.close()
    assert len(seal_days()) == 1


def test_each_seal_is_logged_and_appended_to_the_file(settings, tmp_path: Path, caplog) -> None:
    file = tmp_path / "seals" / "seals.jsonl"
    post(3)
    seal_days()  # without a file
    settings.SEALS_FILE = str(file)
    with caplog.at_level(logging.INFO):
        seal_days()  # makes up what is missing
        seal_days()
    entries = list(read_file(file))
    stored = list(LedgerSeal.objects.order_by("day"))
    assert [(entry["day"], entry["chain"]) for entry in entries] == [(f"{seal.day}", seal.chain) for seal in stored]
    assert entries[0]["rows"] == 1
    file.write_text(file.read_text() + json.dumps({"x": 1}) + "\n")
    with pytest.raises(ValueError, match="no seal"):
        list(read_file(file))


@pytest.mark.parametrize("sql", ["UPDATE ledger_seals SET rows = 0", "DELETE FROM ledger_seals"])
def test_the_application_can_only_add_seals(sql: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute(sql)


def test_days_without_rows_or_events_have_no_content() -> None:
    assert compute_days(date(2020, 1, 1), date(2020, 2, 1)) == {}

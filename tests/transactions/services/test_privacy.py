"""Personal data: exports are complete, and after an erasure nothing identifies the user."""

import csv
import io
import json
import zipfile
from datetime import timedelta
from decimal import Decimal

import pytest
from axes.models import AccessAttempt
from django.apps import apps
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import ForeignKey, OneToOneField
from django.urls import reverse
from django.utils import timezone

from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import (
    BackgroundTask,
    BankAccount,
    Goal,
    Holding,
    ImportProfile,
    Notification,
    Order,
    StatementImport,
    Transaction,
    TransactionDelta,
    User,
    UserSetting,
)
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.privacy import (
    ReplayResult,
    erase_user_data,
    personal_data_tables,
    replay_erasures,
    request_erasure,
    run_erasure,
    run_export,
    write_user_export,
)
from transactions.services.processing import process_pending

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)

NAME = "Xanthippe Quill"
BANK = "Date,Description,Amount\n2026-11-01,STARBUCKS 1234 ATHENS,-4.50\nnever,Xanthippe,-1\n"


@pytest.fixture
def person() -> User:
    """Create a customer with rows in every table with personal data."""
    make_company("SBUX", "95.00")
    make_merchant("STARBUCKS", "SBUX")
    user = make_user(
        "xanthippe@example.com",
        name=NAME,
        first_name="Xanthippe",
        last_name="Quill",
        phone="555-0100",
        city="Athens",
        address="1 Agora, Xanthippe's",
        account_number="I7777777",
        user_guid="USR-I7777777",
    )
    statement = upload_statement(
        user=user, filename="Xanthippe.csv", content=ContentFile(BANK.encode()), requested_by=user, send=False
    )
    run_statement_import(task_id=statement.task_id)
    make_transaction(user, description="for Xanthippe")
    process_pending()
    Notification.objects.create(user=user, title="Dear Xanthippe", message="m")
    Goal.objects.create(user=user, title="Xanthippe's goal", target_amount=Decimal(5))
    UserSetting.objects.create(user=user, setting_key="nick", setting_value="Xanthippe")
    account = BankAccount.objects.create(user=user, name="Xanthippe's checking", last_four="7777", digest="d")
    ImportProfile.objects.create(user=user, bank_account=account, layout="xanthippe", answers={"spending": "negative"})
    StatementImport.objects.filter(pk=statement.pk).update(bank_account=account)
    AccessAttempt.objects.create(
        failures_since_start=1,
        username=user.email,
        ip_address="192.0.2.1",
        user_agent="",
        path_info="",
        attempt_time=timezone.now(),
    )
    with connection.cursor() as cursor:
        # They have no model, so the end of a test does not empty them.
        cursor.execute("DELETE FROM legacy_ids; DELETE FROM legacy_rows")
        cursor.execute("INSERT INTO legacy_ids (source_table, legacy_id, user_id) VALUES ('users', 7, %s)", [user.pk])
        cursor.execute("INSERT INTO legacy_rows VALUES ('users', '7', 'rest', '{\"dob\": \"Xanthippe\"}')")
        cursor.execute(
            "INSERT INTO legacy_rows VALUES ('goals', '1', 'row', '{\"user_id\": \"7\", \"title\": \"Xanthippe\"}')"
        )
        cursor.execute(
            "INSERT INTO legacy_rows VALUES ('goals', '2', 'row', '{\"user_id\": \"8\", \"title\": \"somebody else\"}')"
        )
    return user


def _everything() -> str:
    """Return the whole database as text, except for Django's own tables."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        tables = [row[0] for row in cursor.fetchall()]
        texts = []
        for table in tables:
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} AS t")
            texts.append(f"{table}: {cursor.fetchone()[0]}")
    return "\n".join(texts)


def test_every_table_with_personal_data_is_declared():
    declared = {(table.model, table.column) for table in personal_data_tables()}
    missing = []
    for model in apps.get_models():
        if model._meta.proxy:
            continue
        for field in model._meta.concrete_fields:
            names = isinstance(field, ForeignKey | OneToOneField) and field.related_model is User
            if (names or field.name == "user_id") and (model, field.attname) not in declared:
                missing.append(f"{model.__name__}.{field.attname}")
    assert not missing, f"declare with personal_data_table() what an erasure does to these tables: {missing}"


def test_after_an_erasure_nothing_identifies_the_user_and_the_books_are_consistent(person):
    uploaded = StatementImport.objects.get().file
    assert uploaded.storage.exists(uploaded.name)
    before = Transaction.objects.filter(user=person).count(), Holding.objects.get(user=person).shares
    done = erase_user_data(user_id=person.pk)
    everything = _everything().lower()
    for word in ("xanthippe", "quill", "555-0100", "i7777777", "agora"):
        assert word not in everything, everything[max(0, everything.index(word) - 300) : everything.index(word) + 40]
    assert not uploaded.storage.exists(uploaded.name)
    assert (Transaction.objects.filter(user=person).count(), Holding.objects.get(user=person).shares) == before
    assert list(find_ledger_problems()) == []
    assert done.rows["transactions"] == 2
    person.refresh_from_db()
    assert (person.is_active, person.round_up_enabled, person.has_usable_password()) == (False, False, False)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM legacy_rows")
        assert cursor.fetchone() == (1,)  # another user's


def test_rollups_account_for_the_rows_that_an_erasure_wrote(person):
    TransactionDelta.objects.all().delete()
    erase_user_data(user_id=person.pk)
    counted = TransactionDelta.objects.values_list("rows", "amount", "writes")
    assert {(rows, amount) for rows, amount, _ in counted} == {(0, 0)}
    assert sum(writes for *_, writes in counted) == 2


def test_sessions_and_tokens_stop_working(person):
    client = api_client(person)
    assert client.get("/api/user/auth/me").status_code == 200
    erase_user_data(user_id=person.pk)
    assert client.get("/api/user/auth/me").status_code == 401


def test_an_erasure_is_repeated_on_a_database_that_was_restored_to_before_it(person):
    kept = User.objects.filter(pk=person.pk).values().get()
    bystander = make_user("bystander@example.com")
    erase_user_data(user_id=person.pk)
    User.objects.filter(pk=person.pk).update(**kept)

    call_command("replay_erasures")

    person.refresh_from_db()
    bystander.refresh_from_db()
    assert person.erased_at
    assert person.email == f"erased-{person.pk}@erased.invalid"
    assert bystander.erased_at is None
    assert replay_erasures() == ReplayResult([], {})


def test_an_erasure_is_not_repeated_on_another_account_with_the_same_id(person):
    erase_user_data(user_id=person.pk)
    User.objects.filter(pk=person.pk).update(
        erased_at=None, email="new@example.com", created_at=person.created_at + timedelta(days=1)
    )
    assert replay_erasures() == ReplayResult([], {})


def test_a_repeated_erasure_waits_for_work_in_progress_behind_a_closed_account(person):
    kept = User.objects.filter(pk=person.pk).values().get()
    erase_user_data(user_id=person.pk)
    User.objects.filter(pk=person.pk).update(**kept)
    make_transaction(person)

    with pytest.raises(CommandError, match="again when the work"):
        call_command("replay_erasures")

    person.refresh_from_db()
    assert (person.erased_at, person.is_active) == (None, False)


@pytest.mark.parametrize("what", ["staff", "twice", "pending", "order"])
def test_an_erasure_is_refused_while_work_is_in_progress(person, what):
    if what == "staff":
        person = make_staff()
    elif what == "twice":
        erase_user_data(user_id=person.pk)
    elif what == "pending":
        make_transaction(person)
    else:
        bought = Transaction.objects.filter(user=person).first()
        Order.objects.create(
            user=person,
            transaction_id=bought.pk,
            transaction_date=bought.date,
            ticker="SBUX",
            amount=Decimal(1),
            status="queued",
            execute_after=bought.date,
        )
    person.refresh_from_db()
    with pytest.raises(CommandError):
        call_command("erase_person", person.email, "--yes")


def test_the_export_contains_all_data_of_the_user_and_none_of_others(person, tmp_path):
    other = make_user("other@example.com")
    make_transaction(other, "SECRET OF OTHERS")
    Transaction.objects.filter(user=person).update(description="=cmd()")
    write_user_export(user=person, path=tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        text = "".join(archive.read(name).decode() for name in names)
        account = json.loads(archive.read("account.json"))
        rows = list(csv.DictReader(io.StringIO(archive.read("transactions.csv").decode())))
    assert {"transactions.csv", "holdings.csv", "notifications.csv", "goals.csv", "ledger_transfers.csv"} <= names
    assert any(name.startswith("statements/") for name in names)
    assert account["email"] == "xanthippe@example.com"
    assert "password" not in account
    assert "SECRET OF OTHERS" not in text
    assert len(rows) == 2
    assert {row["description"] for row in rows} == {"'=cmd()"}  # so that no spreadsheet runs it


def test_a_customer_requests_and_downloads_their_data(person):
    client = api_client(person)
    response = client.post("/api/user/data-export")
    assert response.status_code == 202
    assert client.post("/api/user/data-export").json()["task_id"] == response.json()["task_id"]
    address = f"/api/user/data-export/{response.json()['task_id']}"
    assert client.get(address).status_code == 404
    run_export(task_id=response.json()["task_id"])
    reply = client.get(address)
    assert (reply.status_code, reply["Content-Type"]) == (200, "application/zip")
    assert zipfile.ZipFile(io.BytesIO(b"".join(reply))).testzip() is None
    assert api_client(make_user()).get(address).status_code == 404


def _with_password(person: User) -> dict[str, str]:
    person.set_password("correct horse battery")
    person.save(update_fields=["password"])
    return {"currentPassword": "correct horse battery"}


def test_a_customer_requests_their_own_erasure_and_is_logged_out_everywhere(person):
    body = _with_password(person)
    client, other = api_client(person), api_client(person)
    reply = client.post("/api/user/erasure", body, format="json")
    assert reply.status_code == 202, reply.content
    task = BackgroundTask.objects.get(pk=reply.json()["task_id"])
    assert (task.name, task.user, task.status) == ("erase_person", person, "queued")
    for logged_in in (client, other):
        assert logged_in.get("/api/user/auth/me").status_code == 401
    assert client.post("/api/user/erasure", body, format="json").status_code == 401
    run_erasure(task_id=task.pk)
    person.refresh_from_db()
    task.refresh_from_db()
    assert person.erased_at is not None
    assert task.status == "completed", task.error
    assert "xanthippe" not in _everything().lower()
    # A worker died after the erasure but before it finished the task: the next one changes nothing and completes it.
    BackgroundTask.objects.filter(pk=task.pk).update(status="queued", finished_at=None)
    run_erasure(task_id=task.pk)
    task.refresh_from_db()
    assert task.status == "completed", task.error


def test_two_simultaneous_requests_are_one_erasure(person):
    first, second = (request_erasure(user=person, actor=person, reason="") for _ in range(2))
    assert first.pk == second.pk
    assert BackgroundTask.objects.filter(name="erase_person").count() == 1


@pytest.mark.parametrize(
    "body", [{}, {"currentPassword": "a guess"}, {"currentPassword": ""}, {"currentPassword": None}]
)
def test_an_erasure_requires_the_password(person, body):
    _with_password(person)
    client = api_client(person)
    assert client.post("/api/user/erasure", body, format="json").status_code == 400
    assert client.get("/api/user/auth/me").status_code == 200
    assert not BackgroundTask.objects.filter(name="erase_person").exists()


@pytest.mark.parametrize("what", ["pending", "export", "staff"])
def test_the_customer_gets_the_reason_why_they_cannot_be_erased_now(person, what):
    if what == "pending":
        make_transaction(person)
    elif what == "export":
        api_client(person).post("/api/user/data-export")
    else:
        person = make_staff()
    body = _with_password(person)
    client = api_client(person)
    reply = client.post("/api/family/erasure", body, format="json")
    assert reply.status_code == 409
    reasons = {"pending": "Transactions are being processed", "export": "an export", "staff": "Staff accounts"}
    assert reasons[what] in reply.json()["error"]
    assert client.get("/api/user/auth/me").status_code == 200


def test_erasing_in_the_admin_requires_the_e_mail_and_shows_the_effect(person, client):
    client.force_login(make_staff())
    address = reverse("admin:transactions_user_erase", args=[person.pk])
    assert b"cannot be undone" in client.get(address).content
    assert b"not the e-mail" in client.post(address, {"email": "wrong@example.com", "reason": "r"}).content
    client.post(address, {"email": person.email.upper(), "reason": "requested by letter"})
    person.refresh_from_db()
    assert not person.is_active
    task = BackgroundTask.objects.get(name="erase_person")
    run_erasure(task_id=task.pk)
    person.refresh_from_db()
    assert person.erased_at is not None
    assert b"Erased at" in client.get(reverse("admin:transactions_user_change", args=[person.pk])).content


def test_the_export_in_the_admin(person, client):
    client.force_login(make_staff())
    assert client.get(reverse("admin:transactions_user_export", args=[person.pk])).status_code == 405
    client.post(reverse("admin:transactions_user_export", args=[person.pk]))
    task = BackgroundTask.objects.get(name="export_person")
    run_export(task_id=task.pk)
    reply = client.get(reverse("admin:transactions_user_export_file", args=[person.pk, task.pk]))
    assert reply["Content-Disposition"].startswith("attachment")
    reply.close()

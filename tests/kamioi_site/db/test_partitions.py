"""Monthly partitions against the catalogue of a real PostgreSQL, and models against migrations."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from dateutil.relativedelta import relativedelta
from django.apps import apps
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DataError, connection

from kamioi_site.db import partitions
from llm_center.models import LlmMapping
from tests.factories import make_transaction, make_user
from transactions.models import LedgerTransfer, Transaction

pytestmark = pytest.mark.django_db


def _key_columns(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey) "
            "WHERE indrelid = %s::regclass AND indisprimary ORDER BY array_position(indkey::int2[], attnum)",
            [table],
        )
        return [row[0] for row in cursor.fetchall()]


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("transactions", ["user_id", "date", "id"]),
        ("ledger_transfers", ["date", "id", "user_id"]),
        ("llm_mappings", ["id", "created_at"]),
    ],
)
def test_the_database_key_serves_the_list_of_its_table(table: str, key: list[str]) -> None:
    assert _key_columns(table) == key


def test_every_index_and_constraint_of_the_models_is_in_the_database() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('i', 'I') UNION SELECT conname FROM pg_constraint"
        )
        there = {row[0] for row in cursor.fetchall()}
    for model in [*apps.get_app_config("transactions").get_models(), *apps.get_app_config("llm_center").get_models()]:
        for named in [*model._meta.indexes, *model._meta.constraints]:
            assert named.name in there, f"{model.__name__}: {named.name}"


def test_every_sql_file_of_a_migration_is_loaded_exactly_once() -> None:
    for app in ("transactions", "llm_center"):
        folder = Path(settings.BASE_DIR, app, "migrations")
        text = "".join(path.read_text() for path in folder.glob("*.py"))
        for path in (folder / "sql").glob("*.sql"):
            assert text.count(f'"{path.name}"') == 1, path.name


def test_migrating_makes_this_month_and_three_ahead_and_applying_again_changes_nothing() -> None:
    for status in partitions.partition_status():
        assert (status.headroom_months, status.default_rows) == (3, 0), status.table
    assert not partitions.plan_partitions()
    assert not partitions.apply_partitions()


def test_next_month_only_the_missing_partition_is_planned_and_made() -> None:
    later = datetime.now(UTC) + relativedelta(months=1)
    expected = partitions.month_start(later + relativedelta(months=3)).date()
    plan = partitions.plan_partitions(now=later)
    assert plan.creations == {table: [expected] for table in ("transactions", "ledger_transfers", "llm_mappings")}
    partitions.apply_partitions(now=later)
    assert not partitions.plan_partitions(now=later)


def _bounds(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = %s", [name])
        return str(cursor.fetchone()[0])


def test_bounds_are_midnight_utc() -> None:
    assert partitions.ensure_partitions(Transaction, [date(2019, 5, 17), date(2019, 8, 1)]) == 1
    assert _bounds("transactions_y2019") == "FOR VALUES FROM ('2019-01-01 00:00:00+00') TO ('2020-01-01 00:00:00+00')"
    last = datetime.now(UTC).date().replace(day=1) - relativedelta(months=1)
    assert _bounds(f"transactions_y{last:%Ym%m}").startswith(f"FOR VALUES FROM ('{last} 00:00:00+00')")


@pytest.mark.as_owner
def test_a_year_that_has_months_gets_further_months() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE transactions_y2019m06 PARTITION OF transactions "
            "FOR VALUES FROM ('2019-06-01') TO ('2019-07-01')"
        )
    partitions.ensure_partitions(Transaction, [date(2019, 5, 17)])
    assert _bounds("transactions_y2019m05")


@pytest.mark.parametrize(
    ("table", "day"), [("users", "2026-01-01"), ("transactions; --", "2026-01-01"), ("transactions", "1066-01-01")]
)
def test_the_owners_function_creates_partitions_of_partitioned_tables_only(table: str, day: str) -> None:
    with pytest.raises(DataError, match="no partition of"), connection.cursor() as cursor:
        cursor.execute("SELECT kamioi_create_partition(%s, %s)", [table, day])


def test_rows_in_the_default_partition_move_into_their_year() -> None:
    user = make_user()
    old = make_transaction(user, date=datetime(2018, 2, 3, tzinfo=UTC))
    other = make_transaction(user, date=datetime(2018, 3, 3, tzinfo=UTC))
    with pytest.raises(CommandError, match="partitions apply"):
        call_command("partitions", "status", stdout=StringIO())

    plan = partitions.apply_partitions()

    assert plan.strays == {"transactions": [date(2018, 2, 1), date(2018, 3, 1)]}
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, id FROM transactions ORDER BY date")
        assert cursor.fetchall() == [("transactions_y2018", old.pk), ("transactions_y2018", other.pk)]
        cursor.execute("SELECT count(*) FROM transactions_default")
        assert cursor.fetchone()[0] == 0


@pytest.mark.as_owner
def test_an_old_year_is_detached_with_its_rows_and_attached_again() -> None:
    partitions.ensure_partitions(LlmMapping, [date(2019, 5, 1)])
    LlmMapping.objects.create(
        merchant_name="X", merchant_key="X", source="matcher", created_at=datetime(2019, 5, 2, tzinfo=UTC)
    )
    out = StringIO()
    call_command("partitions", "detach", "llm_mappings", "2019", "--yes", stdout=out)
    assert "llm_mappings_y2019 was detached" in out.getvalue()
    assert not LlmMapping.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM llm_mappings_y2019")
        assert cursor.fetchone()[0] == 1
    call_command("partitions", "attach", "llm_mappings", "2019", stdout=out)
    assert "llm_mappings_y2019 was attached" in out.getvalue()
    assert LlmMapping.objects.count() == 1


@pytest.mark.parametrize(
    ("table", "month", "message"),
    [
        ("nothing", "2019-05", "unknown table"),
        ("transactions", "May 2019", "YYYY-MM"),
        ("transactions", "2001-01", "is not a partition"),
        ("transactions", f"{datetime.now(UTC):%Y-%m}", "not in the past"),
    ],
)
def test_detach_refuses_what_makes_no_sense(table: str, month: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("partitions", "detach", table, month, "--yes")


def test_a_question_about_one_month_reads_one_partition() -> None:
    start = partitions.month_start(datetime.now(UTC))
    rows = Transaction.objects.filter(date__gte=start, date__lt=start + timedelta(days=20), user_id=1)
    assert rows.explain().count("transactions_y") <= 2  # the partition and its index
    assert "ledger_transfers_default" not in LedgerTransfer.objects.filter(date=start, user_id=1).explain()

"""Every table has a place on a Citus cluster, and Citus would refuse none of it."""

import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DataError, IntegrityError, InternalError, connection

from kamioi_site.db.distribution import (
    distribution,
    find_distribution_problems,
    plan_distribution,
    restored_error_codes,
)
from kamioi_site.db.partitions import partitioned_models
from tests.factories import make_company
from transactions.sql import load_sql

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.django_db


def _sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_every_table_has_one_place_and_every_key_can_be_distributed():
    assert find_distribution_problems() == []


def test_every_table_split_by_month_is_distributed_and_local_ones_say_why():
    placed = distribution()
    assert {model._meta.db_table for model in partitioned_models()} <= placed.distributed.keys()
    assert all(placed.local.values())


@pytest.mark.as_owner
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "CREATE TABLE newcomer (id int)",
            "newcomer: declared neither reference, distributed nor local in its app's distribution.py",
        ),
        ("DROP TABLE goals", "goals: declared, but does not exist"),
        ("CREATE UNIQUE INDEX only_ticker ON holdings (ticker)", "holdings: unique key only_ticker without user_id"),
        ("ALTER TABLE goals ADD FOREIGN KEY (id) REFERENCES holdings", "goals: foreign key goals_id_fkey to holdings"),
        (
            "ALTER TABLE background_tasks ADD o bigint REFERENCES orders",
            "background_tasks: foreign key background_tasks_o_fkey to orders",
        ),
        (
            "ALTER TABLE companies ADD g int REFERENCES auth_group",
            "auth_group: referenced by a reference table (companies_g_fkey), so it must be one too",
        ),
        (
            "CREATE TRIGGER note AFTER INSERT ON orders REFERENCING NEW TABLE AS changed FOR EACH STATEMENT "
            "EXECUTE FUNCTION legacy_outbox_note('id')",
            "orders: trigger note; `migrate_from_sqlite finish` removes the outbox triggers of dual writing",
        ),
    ],
)
def test_every_violation_of_a_citus_rule_is_reported(change, problem):
    _sql(change)
    assert [found[: len(problem)] for found in find_distribution_problems()] == [problem]


def test_the_statements_are_printed_in_order_and_nothing_changes():
    output, errors = StringIO(), StringIO()
    call_command("distribute", "--dry-run", stdout=output, stderr=errors)
    statements = [line for line in output.getvalue().splitlines() if not line.startswith("--")]
    assert errors.getvalue() == ""
    assert len(statements) == len(plan_distribution())

    def position(start: str) -> int:
        (found,) = [number for number, line in enumerate(statements) if line.startswith(start)]
        return found

    order = [
        "SELECT create_distributed_function('kamioi_shares(numeric,numeric)');",
        "ALTER TABLE transactions DROP CONSTRAINT transactions_user_id_fkey;",
        "SELECT create_reference_table('users');",
        "SELECT create_reference_table('merchants');",  # refers to users
        "SELECT create_distributed_table('transactions', 'user_id', colocate_with => 'none');",
        "ALTER TABLE holdings DROP CONSTRAINT holdings_pkey, ADD CONSTRAINT holdings_pkey PRIMARY KEY (id, user_id);",
        "SELECT create_distributed_table('holdings', 'user_id', colocate_with => 'transactions');",
        "SELECT create_distributed_table('llm_mappings', 'id', colocate_with => 'none');",
        "ALTER TABLE transactions ADD CONSTRAINT transactions_user_id_fk_users "
        "FOREIGN KEY (user_id) REFERENCES users (id);",
    ]
    found = [position(start) for start in order]
    assert found == sorted(found)
    assert {line.split("'")[1] for line in statements if "create_distributed_table" in line} == {
        *distribution().distributed
    }


def test_without_the_extension_the_error_explains_the_setup():
    with pytest.raises(CommandError, match="The extension citus is not installed in this database"):
        call_command("distribute", stdout=StringIO())


def test_a_statement_for_citus_has_a_plain_form_and_is_listed():
    files = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/sql/**/*.citus.sql")}
    assert all((ROOT / file.replace(".citus.sql", ".sql")).exists() for file in files)
    listed = set(re.findall(r"`(\w+/sql/[\w/]+\.citus\.sql)`", (ROOT / "docs" / "scaling.md").read_text()))
    assert listed == files


def test_the_form_for_citus_is_chosen_only_there(monkeypatch):
    plain = load_sql("book_pending")
    assert "LATERAL" in plain
    assert "citus" not in plain
    monkeypatch.setattr("kamioi_site.db.sql_files.on_citus", lambda: True)
    assert "SET LOCAL citus.subquery_pushdown = on" in load_sql("book_pending")


@pytest.mark.as_owner
def test_ids_continue_after_those_of_the_rows():
    company = make_company("SBUX", None)
    _sql("ALTER SEQUENCE companies_id_seq RESTART")
    sql = f"SELECT setval('companies_id_seq', greatest({company.pk}, max(id))) FROM companies"
    assert sql in [step.sql for step in plan_distribution()]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ('new row violates check constraint "holdings_not_negative"', IntegrityError),
        ("numeric field overflow", DataError),
        ("out of memory", InternalError),
    ],
)
def test_an_error_of_a_row_keeps_its_class_on_citus(monkeypatch, message, kind):
    monkeypatch.setattr("kamioi_site.db.distribution.on_citus", lambda: True)
    with pytest.raises(kind, match=message), restored_error_codes():
        raise InternalError(message)

"""The application owns nothing, has exactly the privileges of the table, and the owner does the rest."""

from datetime import UTC, datetime

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import ProgrammingError, connection, transaction

from kamioi_site.db import roles
from kamioi_site.db.partitions import ensure_partitions
from transactions.models import LedgerTransfer

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not settings.MIGRATION_DATABASE_URL, reason="one role does both on this server"),
]
PRIVILEGES = ["DELETE", "INSERT", "REFERENCES", "SELECT", "TRIGGER", "TRUNCATE", "UPDATE"]


def _rows(sql: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def _held(kinds: str, privileges: list[str], function: str) -> dict[tuple[str, str, bool], set[str]]:
    """Return what the connected role may do with each relation, as PostgreSQL checks it."""
    checks = ", ".join(f"{function}(oid, '{privilege}')" for privilege in privileges)
    return {
        (name, kind, partition): {privilege for privilege, held in zip(privileges, answers, strict=True) if held}
        for name, kind, partition, *answers in _rows(
            f"SELECT relname, relkind::text, relispartition, {checks} FROM pg_class "
            f"WHERE relnamespace = 'public'::regnamespace AND relkind IN ({kinds})"
        )
    }


def _assert_privileges_are_those_allowed() -> None:
    tables = _held("'r', 'p', 'v', 'm'", PRIVILEGES, "has_table_privilege")
    sequences = _held("'S'", ["SELECT", "UPDATE", "USAGE"], "has_sequence_privilege")
    assert len(tables) > 70
    assert len(sequences) > 30
    for (name, kind, partition), held in (tables | sequences).items():
        allowed = roles.allowed_privileges(name, kind, is_partition=partition) - {"MAINTAIN"}
        assert held == allowed, name


def test_the_application_owns_nothing() -> None:
    (role,) = _rows(
        "SELECT current_user::text, rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    assert role == (roles.application_role(), False, False, False)
    for catalog, owner in {
        "pg_class": "relowner",
        "pg_proc": "proowner",
        "pg_type": "typowner",
        "pg_namespace": "nspowner",
        "pg_database": "datdba",
    }.items():
        assert _rows(f"SELECT * FROM {catalog} WHERE pg_has_role({owner}, 'MEMBER') AND {owner} <> 0") == [], catalog
    assert roles.find_role_problem() == ""


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mischief (n int)",
        "CREATE SCHEMA mischief",
        "CREATE FUNCTION mischief() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER TABLE goals ADD mischief int",
        "DROP TABLE goals",
        "TRUNCATE goals",
        "CREATE INDEX ON goals (title)",
        "CREATE TRIGGER mischief BEFORE UPDATE ON goals FOR EACH ROW EXECUTE FUNCTION kamioi_task_version()",
        "ALTER TABLE audit_events DISABLE TRIGGER audit_events_only_added_to",
        "ALTER TABLE transactions DETACH PARTITION transactions_default",
        "ALTER FUNCTION kamioi_shares(numeric, numeric) OWNER TO CURRENT_USER",
        "SET ROLE kamioi_owner",
        # The books, the decisions and the audit trail are only added to, also by way of a partition.
        "UPDATE ledger_transfers SET amount = 1",
        "DELETE FROM ledger_transfers",
        "DELETE FROM ledger_transfers_default",
        "INSERT INTO ledger_transfers_default SELECT * FROM ledger_transfers",
        "SELECT 1 FROM ledger_transfers FOR UPDATE",
        "UPDATE mapping_decisions SET reason = 'x'",
        "DELETE FROM mapping_decisions",
        "UPDATE audit_events SET action = 'x'",
        "DELETE FROM audit_events",
        "DELETE FROM django_migrations",
        "UPDATE journal_entries SET lines = '[]'",
        "DELETE FROM journal_entries",
        "SELECT 1 FROM journal_entries FOR UPDATE",
        "UPDATE journal_reversals SET reversed_at = now()",
        "DELETE FROM journal_reversals",
        "UPDATE amortization_entries SET amount = 1",
        "DELETE FROM amortization_entries",
        "UPDATE amortization_reversals SET reversed_at = now()",
        "DELETE FROM amortization_reversals",
    ],
)
def test_the_application_can_neither_change_tables_nor_the_past(statement: str) -> None:
    with pytest.raises(ProgrammingError) as refused, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert getattr(refused.value.__cause__, "pgcode", None) == "42501", refused.value


def test_the_application_has_the_listed_privileges_on_every_table() -> None:
    _assert_privileges_are_those_allowed()
    names = {name for name, _, partition in _held("'r', 'p'", PRIVILEGES, "has_table_privilege") if not partition}
    assert roles.TABLE_PRIVILEGES.keys() <= names


def test_a_partition_that_is_made_later_can_be_read_and_is_written_through_its_table() -> None:
    when = datetime(2019, 5, 17, tzinfo=UTC)
    assert ensure_partitions(LedgerTransfer, [when]) == 1
    _assert_privileges_are_those_allowed()
    LedgerTransfer.objects.create(
        date=when, user_id=0, kind="journal_entry", debit_account="10100", credit_account="10200", amount=1
    )
    assert _rows("SELECT count(*) FROM ledger_transfers_y2019") == [(1,)]


@pytest.mark.as_owner
def test_granting_restores_what_is_missing_and_revokes_what_is_too_much() -> None:
    assert roles.find_wrong_privileges() == []
    role = roles.application_role()
    _do(
        f"GRANT ALL ON audit_events, transactions_default TO {role}; REVOKE INSERT, SELECT ON goals FROM {role}; "
        f"REVOKE ALL ON SEQUENCE goals_id_seq FROM {role}; "
        f"REVOKE ALL ON FUNCTION kamioi_refresh_summary() FROM {role}; "
        "GRANT CREATE ON SCHEMA public TO PUBLIC; CREATE TABLE newcomer (id int)"
    )
    wrong = {difference.relation: difference for difference in roles.find_wrong_privileges()}
    assert wrong.keys() == {"audit_events", "transactions_default", "goals", "goals_id_seq", "newcomer"}
    assert wrong["goals"].missing == {"INSERT", "SELECT"}
    assert {"DELETE", "UPDATE"} <= wrong["audit_events"].excess
    assert wrong["newcomer"].missing == {"DELETE", "INSERT", "UPDATE"}

    roles.grant_privileges()

    assert roles.find_wrong_privileges() == []
    assert _rows(
        f"SELECT has_schema_privilege('{role}', 'public', 'CREATE'), "
        f"has_function_privilege('{role}', 'kamioi_refresh_summary()', 'EXECUTE')"
    ) == [(False, True)]


def _do(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_command_connects_as_the_owner_and_then_as_the_application_again() -> None:
    application = _rows("SELECT current_user::text")
    with roles.as_owner():
        database = _rows("SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()")
        assert database == [(True,)]
        with roles.as_owner(), transaction.atomic(), roles.as_owner():
            assert _rows("SELECT current_user::text") != application
    assert _rows("SELECT current_user::text") == application


def test_a_transaction_of_the_application_cannot_become_the_owners() -> None:
    with pytest.raises(roles.RoleError, match="transaction"), roles.as_owner():
        pass


def test_both_addresses_must_name_the_same_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MIGRATION_DATABASE_URL", "postgresql://owner@127.0.0.1:1/other")
    with (
        pytest.raises(roles.RoleError, match="names the database other, DATABASE_URL the database kamioi"),
        roles.as_owner(),
    ):
        pass


def test_without_an_address_of_the_owner_one_role_does_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MIGRATION_DATABASE_URL", "")
    with roles.as_owner():
        assert _rows("SELECT current_user::text") == [(roles.application_role(),)]
    roles.grant_privileges()


def _complaints() -> list[str]:
    return [problem.msg for problem in run_checks(include_deployment_checks=True) if problem.id == "kamioi.W002"]


def test_the_deployment_check_accepts_a_role_that_owns_nothing() -> None:
    assert _complaints() == []


@pytest.mark.as_owner
def test_the_deployment_check_names_a_role_that_owns_the_tables() -> None:
    (complaint,) = _complaints()
    assert "application's database role kamioi_owner owns" in complaint

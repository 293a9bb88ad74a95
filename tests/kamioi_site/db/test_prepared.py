"""Statements that a connection plans once."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from kamioi_site.db.prepared import prepared_statement

pytestmark = pytest.mark.django_db
TEXT = "SELECT %s::int + %s::int"


def _sum(one: int, other: int) -> int:
    with prepared_statement(TEXT, [one, other]) as cursor:
        return int(cursor.fetchone()[0])


def test_a_statement_is_prepared_once_and_run_with_the_values_of_each_call() -> None:
    assert _sum(1, 2) == 3
    with CaptureQueriesContext(connection) as queries:
        assert (_sum(3, 4), _sum(-1, 0)) == (7, -1)
    assert [query["sql"].split(" ")[0] for query in queries] == ["EXECUTE", "EXECUTE"]


def test_behind_pgbouncer_nothing_is_left_in_a_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "DISABLE_SERVER_SIDE_CURSORS", True)
    with CaptureQueriesContext(connection) as queries:
        assert _sum(5, 6) == 11
    assert [query["sql"] for query in queries] == ["SELECT 5::int + 6::int"]


def test_the_number_of_parameters_must_match_the_placeholders() -> None:
    with pytest.raises(ValueError, match="placeholders"), prepared_statement("SELECT %s::text", [1, 2]):
        pass


@pytest.mark.as_owner
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_column_whose_type_changed_causes_no_error() -> None:
    def read() -> object:
        with prepared_statement("SELECT value FROM prepared_probe WHERE value::int = %s", [7]) as cursor:
            return cursor.fetchone()[0]

    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS prepared_probe")
        cursor.execute("CREATE TABLE prepared_probe (value int)")
        cursor.execute("INSERT INTO prepared_probe VALUES (7)")
        try:
            assert read() == 7
            cursor.execute("ALTER TABLE prepared_probe ALTER value TYPE text")
            assert read() == "7"
            assert read() == "7"
            with transaction.atomic():
                assert read() == "7"
        finally:
            cursor.execute("DROP TABLE prepared_probe")

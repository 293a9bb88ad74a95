"""The change log in the legacy file."""

import pytest

from tests.transactions.legacy.conftest import writing
from transactions.legacy.source.change_log import CHANGE_LOG, install_change_log, remove_change_log

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


def test_the_change_log_is_installed_and_removed(legacy):
    install_change_log(legacy)
    install_change_log(legacy)  # again is harmless
    with writing(legacy) as source:
        source.execute("UPDATE goals SET title = 'x'")
        assert source.execute(f"SELECT table_name, row_key FROM {CHANGE_LOG}").fetchall()[-1] == ("goals", "1")
    remove_change_log(legacy)
    with writing(legacy) as source:
        assert source.execute("SELECT name FROM sqlite_master WHERE name LIKE 'kamioi%'").fetchall() == []

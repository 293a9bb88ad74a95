"""The timeout of selectors."""

import pytest
from django.db import DatabaseError

from analytics.selectors import queries

pytestmark = pytest.mark.django_db


def test_a_query_that_takes_too_long_is_cancelled(monkeypatch):
    monkeypatch.setattr(queries, "STATEMENT_TIMEOUT_MS", 50)
    with pytest.raises(DatabaseError, match="statement timeout"):
        queries.fetch_rows("SELECT pg_sleep(5)")

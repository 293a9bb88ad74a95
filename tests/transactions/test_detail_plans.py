"""A look-up of one transaction plans one partition, however many there are."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from kamioi_site.db.partitions import ensure_partitions
from tests.factories import api_client, make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import Transaction
from transactions.services.ingest import create_transaction
from transactions.services.manual_processing import process_selection, run_selection
from transactions.services.processing import process_transaction_now

pytestmark = pytest.mark.django_db
OLD = datetime(2019, 5, 4, tzinfo=UTC)


def _api_detail(row: Transaction) -> None:
    reply = api_client(row.user).get(f"/api/transactions/{row.pk}")
    assert reply.json()["data"]["id"] == row.pk


def _admin_detail(row: Transaction) -> None:
    client = Client()
    client.force_login(make_staff())
    assert row.merchant in client.get(f"/admin/transactions/transaction/{row.pk}/change/").content.decode()


def _admin_search(row: Transaction) -> None:
    client = Client()
    client.force_login(make_staff())
    assert row.merchant in client.get(f"/admin/transactions/transaction/?q={row.pk}").content.decode()


def _selection(row: Transaction) -> None:
    selection = process_selection(transaction_ids=[row.pk], force=False, actor=make_staff())
    assert selection.statuses[0].merchant == row.merchant
    assert run_selection(transaction_ids=[row.pk])


def _process(row: Transaction) -> None:
    Transaction.objects.filter(user=row.user).update(status="completed", investable=0)
    process_transaction_now(transaction_id=row.pk)


def _same_key(row: Transaction) -> None:
    for _ in range(2):
        sent = create_transaction(user=row.user, amount=row.amount, merchant="X", date=OLD, idempotency_key="k")
    assert not sent.created


@pytest.mark.parametrize("look_up", [_api_detail, _admin_detail, _admin_search, _process, _same_key, _selection])
def test_a_look_up_of_one_transaction_plans_one_partition(look_up: Callable[[Transaction], None]) -> None:
    ensure_partitions(Transaction, [date(year, 1, 1) for year in range(1990, 2024)])
    make_merchant(ticker=make_company().ticker)
    row = make_transaction(make_user(), date=OLD)
    with CaptureQueriesContext(connection) as queries:
        look_up(row)
    plans = [
        _planned(query["sql"])
        for query in queries
        # Batches find their rows by an index of each partition: they are no look-ups.
        if re.search(
            r'^\s*SELECT.* FROM "?transactions"? .*("transactions"."id" (=|IN)|rows\.id =)', query["sql"], re.S
        )
    ]
    assert plans
    assert set(map(tuple, plans)) == {("transactions_y2019",)}


def test_an_unknown_id_plans_no_partition() -> None:
    client = api_client(make_user())
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/api/transactions/999999999").status_code == 404
    assert not [query for query in queries if 'FROM "transactions"' in query["sql"]]


def _planned(sql: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        plan = cursor.fetchone()[0]
    return sorted(set(re.findall(r'"Relation Name": "(transactions_(?:y|default)\w*)"', json.dumps(plan))))

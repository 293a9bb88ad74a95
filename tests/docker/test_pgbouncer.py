"""The application through a real PgBouncer in transaction pooling, with two servers for ten threads at once.

Session state would leak to other clients, or get lost.
"""

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.base import File
from django.db import connection
from django.test import Client
from django.urls import reverse

from kamioi_site.db.partitions import apply_partitions
from llm_center.services.review.decisions import Action, decide_merchant
from tests.docker.servers import console, django_through_pgbouncer
from tests.factories import api_client, make_company, make_merchant, make_staff, make_user
from transactions.models import Merchant, Transaction
from transactions.services.ingest import ingest_statement_file, upload_statement
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending, release_waiting_transactions

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)
THREADS = 10
SERVERS = 2
# PgBouncer follows these itself and sets them on whatever server it lends.
FOLLOWED = {"client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings", "application_name"}


@pytest.fixture
def pooled(db: None, transactional_db: None) -> Iterator[dict[str, str]]:
    """Django's connections go through PgBouncer; how it is reached."""
    with django_through_pgbouncer(pool_size=SERVERS) as reached:
        yield reached


def test_ten_customers_at_once_share_two_servers_and_every_cent_is_right(pooled):
    make_company("SBUX", "95.00")
    make_company("COST", "900.00")
    make_merchant("STARBUCKS", "SBUX")
    users = [make_user() for _ in range(THREADS)]
    staff = [make_staff() for _ in range(THREADS)]
    gate = threading.Barrier(THREADS)

    def life(number: int) -> int:
        """What one customer and one reviewer do, from a statement to the figures."""
        gate.wait(30)
        try:
            return _life(number, users[number], staff[number])
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        exported = list(pool.map(life, range(THREADS)))

    assert exported == [103] * THREADS  # the header and every transaction of the customer
    servers = console(pooled, "SHOW SERVERS")
    assert 1 <= len(servers) <= SERVERS
    totals = console(pooled, "SHOW STATS")
    assert sum(int(str(row["total_xact_count"])) for row in totals) > THREADS * 20
    for status, count in {"completed": 101 * THREADS + THREADS}.items():
        assert Transaction.objects.filter(status=status).count() == count
    assert list(find_ledger_problems()) == []
    _nothing_is_left_in_the_sessions()


def _life(number: int, user, reviewer) -> int:
    front_end = api_client(user)
    for _ in range(2):  # the second one is the first once more
        created = front_end.post(
            "/api/transactions",
            {"amount": "4.50", "merchant": "STARBUCKS"},
            format="json",
            HTTP_IDEMPOTENCY_KEY=f"first-{number}",
        )
        assert created.status_code in {200, 201}, created.content
    rows = "".join(f"2026-10-{1 + row % 28:02d},STARBUCKS #{row},{row + 1}.25\n" for row in range(100))
    statement = upload_statement(
        user=user,
        filename="statement.csv",
        requested_by=user,
        send=False,
        content=File(
            io.BytesIO(f"Date,Description,Debit\n{rows}2026-10-30,MYSTERY {chr(65 + number) * 5},7.00\n".encode())
        ),
    )
    assert ingest_statement_file(statement_id=statement.pk).rows_added == 101
    process_pending()

    unknown = Transaction.objects.get(user=user, merchant__startswith="MYSTERY")
    merchant, _ = Merchant.objects.get_or_create(
        merchant_key=unknown.merchant_key, defaults={"display_name": unknown.merchant_key, "status": "proposed"}
    )
    decide_merchant(
        merchant_id=merchant.pk,
        action=Action.CORRECT,
        actor=reviewer,
        expected_updated_at=None,
        ticker="COST",
        release=False,
    )
    release_waiting_transactions(merchant_keys=[merchant.merchant_key])
    process_pending()

    assert front_end.get("/api/user/transactions").status_code == 200
    assert Decimal(front_end.get("/api/user/portfolio").json()["data"]["total_value"] or 0) >= 0
    desk = Client()
    desk.force_login(reviewer)
    for page in (
        "transactions_transaction",
        "transactions_ledgertransfer",
        "llm_center_llmmapping",
        "llm_center_reviewmerchant",
    ):
        assert desk.get(reverse(f"admin:{page}_changelist")).status_code == 200
    mappings: Any = desk.get(reverse("admin:llm_center_llmmapping_export"))
    assert b"".join(mappings.streaming_content).startswith(b"Merchant Name")
    mine: Any = front_end.get("/api/user/export/transactions")
    return b"".join(mine.streaming_content).count(b"\n")


def _nothing_is_left_in_the_sessions() -> None:
    """Each of the servers, through PgBouncer: no settings, temporary tables, locks, cursors, prepared statements."""
    seen = {}
    lent: list[object] = []
    lock = threading.Lock()
    gate = threading.Barrier(SERVERS)

    def look() -> None:
        from django.db import transaction

        with transaction.atomic(), connection.cursor() as cursor:
            gate.wait(20)  # as many transactions at once as there are servers: each uses another one
            cursor.execute("SELECT pg_backend_pid()")
            (pid,) = cursor.fetchone()
            cursor.execute(
                "SELECT array_agg(name) FROM pg_settings WHERE source = 'session' AND NOT name = ANY(%s)",
                [list(FOLLOWED)],
            )
            found = {"settings": cursor.fetchone()[0]}
            for name, query in {
                "tables": "SELECT count(*) FROM pg_class WHERE relpersistence = 't' AND pg_table_is_visible(oid)",
                "locks": "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
                "prepared": "SELECT count(*) FROM pg_prepared_statements",
                "cursors": "SELECT count(*) FROM pg_cursors WHERE is_holdable",
                "channels": "SELECT count(*) FROM pg_listening_channels() AS heard",
            }.items():
                cursor.execute(query)
                found[name] = cursor.fetchone()[0]
        with lock:
            seen[pid] = found
            lent.append(pid)
        connection.close()

    threads = [threading.Thread(target=look) for _ in range(SERVERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert len(seen) == SERVERS
    clean = {"settings": None, "tables": 0, "locks": 0, "prepared": 0, "cursors": 0, "channels": 0}
    assert list(seen.values()) == [clean] * SERVERS


def test_a_long_download_holds_no_server_and_takes_little_at_a_time(pooled):
    from kamioi_site.http.downloads import rows_in_pages

    user = make_user()
    Transaction.objects.bulk_create(
        Transaction(
            user=user, date="2026-10-01T00:00:00Z", merchant=f"M{row}", merchant_key="M", amount=1, total_debit=1
        )
        for row in range(25)
    )
    rows = rows_in_pages(Transaction.objects.filter(user=user), ("merchant",), order=("-date", "-id"), size=10)
    first = next(rows)
    assert console(pooled, "SHOW POOLS")
    assert all(row["state"] == "idle" for row in console(pooled, "SHOW SERVERS"))
    assert [first, *rows] == [(f"M{row}",) for row in range(24, -1, -1)]


def test_upkeep_of_partitions_works(pooled):
    apply_partitions()


def test_the_look_into_the_sessions_would_see_what_is_left_there(pooled):
    with connection.cursor() as cursor:
        cursor.execute("SET work_mem = '8MB'")
    with pytest.raises(AssertionError, match="work_mem"):
        _nothing_is_left_in_the_sessions()

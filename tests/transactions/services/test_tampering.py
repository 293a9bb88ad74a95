"""What a superuser of the database changes behind the application's back is found; docs/finance.md has the table."""

from datetime import UTC
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.database import superuser_cursor
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user
from transactions.models import AuditEvent, BrokerPosition, LedgerSeal, LedgerTransfer
from transactions.services.journal import Line, create_entry
from transactions.services.ledger_seals import seal_days
from transactions.services.ledger_verification import find_ledger_problems
from transactions.services.processing import process_pending

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True)]
DAYS = 3
BACK = f"interval '{DAYS} days'"
_INSERT = (
    "INSERT INTO ledger_transfers"
    " (user_id, date, transaction_id, kind, debit_account, credit_account, amount, ticker, shares, created_at) "
)
_TODAY = "date_trunc('day', now(), 'UTC')"


def strike(*statements: str) -> None:
    with superuser_cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # without triggers
        for statement in statements:
            cursor.execute(statement)
            assert cursor.rowcount, statement


@pytest.fixture
def sealed_books(days_end_at_midnight: None) -> None:
    """Books of three days ago, with a seal of every day since."""
    make_company("SBUX")
    make_company("TGT")
    make_merchant()
    ann, bob = make_user("ann@example.com"), make_user("bob@example.com")
    for customer in (ann, ann, bob):
        make_transaction(customer)
    process_pending()
    staff = make_staff()
    create_entry(
        fields={"entry_date": timezone.now().astimezone(UTC).date(), "description": "Capital"},
        lines=[Line("10100", Decimal(100), Decimal(0)), Line("30900", Decimal(0), Decimal(100))],
        actor=staff,
        post=True,
    )
    today = timezone.now().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    house = {"date": today, "user_id": 0, "ticker": "SBUX", "shares": Decimal("0.03")}
    LedgerTransfer.objects.create(
        date=today, kind="broker_cash", debit_account="10200", credit_account="10100", amount=3
    )
    LedgerTransfer.objects.create(kind="broker_buy", debit_account="12100", credit_account="10200", amount=3, **house)
    BrokerPosition.objects.create(ticker="SBUX", shares=Decimal("0.03"), cost_basis=3)
    for action in ("POST a", "POST b"):
        AuditEvent.objects.create(user=staff, kind="change", action=action)
    strike(
        f"UPDATE ledger_transfers SET date = date - {BACK}, created_at = created_at - {BACK}",
        f"UPDATE audit_events SET at = at - {BACK}",
    )
    assert len(seal_days()) == DAYS
    assert list(find_ledger_problems()) == []
    assert list(find_ledger_problems(everything=False)) == []


def found(**options) -> set[str]:
    return {problem.problem for problem in find_ledger_problems(**options)}


_ANN = "(SELECT id FROM users WHERE email = 'ann@example.com')"
_BOB = "(SELECT id FROM users WHERE email = 'bob@example.com')"
_ANNS = f"(SELECT min(id) FROM transactions WHERE user_id = {_ANN})"
_OLD = f"date_trunc('day', now(), 'UTC') - interval '{DAYS} days'"

# kind of tampering: (statements, checks that find it with --all, checks that find it without)
CASES: dict[str, tuple[list[str], set[str], set[str]]] = {
    "row deleted": (["DELETE FROM ledger_transfers WHERE kind = 'fee'"], {"transaction", "customer", "seal"}, set()),
    "row inserted without a transaction": (
        [_INSERT + f"VALUES ({_ANN}, {_OLD}, 999, 'fee', '11100', '40100', 1, NULL, NULL, {_OLD})"],
        {"transaction", "customer", "seal"},
        set(),
    ),
    "row inserted today without a transaction": (
        [_INSERT + f"VALUES ({_ANN}, {_TODAY}, 999, 'fee', '11100', '40100', 1, NULL, NULL, now())"],
        {"transaction", "customer"},
        {"transaction"},
    ),
    "second fee of a transaction": (
        [_INSERT + f"VALUES ({_ANN}, {_OLD}, {_ANNS}, 'fee_2', '11100', '40100', 1, NULL, NULL, {_OLD})"],
        {"transaction", "customer", "seal"},
        set(),
    ),
    "purchase inserted with a transaction and a holding": (
        [
            "INSERT INTO transactions (user_id, date, merchant, merchant_key, amount, total_debit, status, ticker,"
            " shares, price_per_share, investable, round_up, fee, priority, source) "
            f"SELECT {_BOB}, {_OLD}, 'X', 'X', 4, 5, 'completed', 'TGT', 0.01, 100, 1, 1, 0, 9, 'statement'",
            _INSERT
            + f"SELECT user_id, {_OLD}, id, 'round_up', '11100', '20100', 1, NULL, NULL, {_OLD} FROM transactions"
            " WHERE merchant_key = 'X'",
            _INSERT
            + f"SELECT user_id, {_OLD}, id, 'purchase', '20100', '22100', 1, 'TGT', 0.01, {_OLD} FROM transactions"
            " WHERE merchant_key = 'X'",
            "INSERT INTO holdings (user_id, ticker, shares, cost_basis, updated_at) "
            f"VALUES ({_BOB}, 'TGT', 0.01, 1, now())",
        ],
        {"customer", "seal"},
        {"positions"},
    ),
    "amount changed": (
        ["UPDATE ledger_transfers SET amount = amount + 1 WHERE kind = 'round_up'"],
        {"transaction", "funds", "customer", "seal"},
        set(),
    ),
    "account changed": (
        ["UPDATE ledger_transfers SET debit_account = '10200' WHERE kind = 'journal_entry'"],
        {"journal", "seal"},
        {"journal"},
    ),
    "user changed": (
        [f"UPDATE ledger_transfers SET user_id = {_BOB} WHERE transaction_id = {_ANNS}"],
        {"transaction", "holding", "customer", "seal"},
        set(),
    ),
    "ticker changed": (
        ["UPDATE ledger_transfers SET ticker = 'TGT' WHERE kind = 'purchase'"],
        {"transaction", "holding", "seal"},
        set(),
    ),
    "shares changed": (
        ["UPDATE ledger_transfers SET shares = shares + 1 WHERE kind = 'purchase'"],
        {"transaction", "holding", "seal"},
        set(),
    ),
    "date changed": (["UPDATE ledger_transfers SET date = date - interval '1 day'"], {"seal"}, set()),
    "date of a new row": (
        [
            _INSERT
            + f"SELECT user_id, {_OLD}, id, kind, debit, credit, 1, NULL, NULL, now() FROM transactions CROSS JOIN "
            "(VALUES ('round_up_2', '11100', '20100'), ('undo_round_up_2', '20100', '11100')) AS side"
            " (kind, debit, credit)"
            f" WHERE transactions.id = {_ANNS}"
        ],
        {"day", "fee"},
        {"day", "fee"},
    ),
    "moment of writing in the future": (
        ["UPDATE ledger_transfers SET created_at = 'infinity' WHERE kind = 'broker_cash'"],
        {"day", "seal"},
        {"day"},
    ),
    "price of a transaction": (
        ["UPDATE transactions SET price_per_share = price_per_share + 1"],
        {"transaction"},
        set(),
    ),
    "shares of a transaction": (["UPDATE transactions SET shares = shares + 1"], {"transaction"}, set()),
    "ticker of a transaction": (["UPDATE transactions SET ticker = 'TGT'"], {"transaction"}, set()),
    "round-up of a transaction": (
        [
            "UPDATE transactions SET round_up = round_up + 1, round_up_cents = round_up_cents + 100, "
            "total_debit = total_debit + 1"
        ],
        {"transaction"},
        set(),
    ),
    "journal entry deleted": (["DELETE FROM journal_entries"], {"journal"}, {"journal"}),
    "reversal of a journal entry inserted without transfers": (
        [
            "INSERT INTO journal_reversals (entry_id, reversed_by_id, reversed_at)"
            " SELECT id, created_by_id, now() FROM journal_entries"
        ],
        {"journal"},
        {"journal"},
    ),
    "transfers of a reversal inserted without a reversal": (
        [
            _INSERT
            + f"SELECT 0, {_TODAY}, NULL, 'journal_reverse', credit_account, debit_account, 1, NULL, NULL, now()"
            " FROM ledger_transfers WHERE kind = 'journal_entry'"
        ],
        {"journal"},
        {"journal"},
    ),
    "transfers of a journal entry deleted": (
        ["DELETE FROM ledger_transfers WHERE kind = 'journal_entry'"],
        {"journal", "seal"},
        {"journal"},
    ),
    "bank overdrawn": (
        [_INSERT + f"VALUES (0, {_TODAY}, NULL, 'broker_cash', '10200', '10100', 500, NULL, NULL, now())"],
        {"bank"},
        {"bank"},
    ),
    "collected more than a customer owes": (
        [_INSERT + f"VALUES ({_ANN}, {_TODAY}, NULL, 'collection', '10100', '11100', 50, NULL, NULL, now())"],
        {"customer"},
        set(),
    ),
    "returned what was never collected": (
        [_INSERT + f"VALUES ({_ANN}, {_TODAY}, NULL, 'returned', '11100', '10100', 5, NULL, NULL, now())"],
        {"customer"},
        set(),
    ),
    "customer funds not zero": (
        [_INSERT + f"VALUES ({_ANN}, {_TODAY}, NULL, 'round_up', '11100', '20100', 5, NULL, NULL, now())"],
        {"funds", "customer"},
        {"funds"},
    ),
    "holdings moved between customers": (
        [
            f"UPDATE holdings SET shares = shares - 0.01, cost_basis = cost_basis - 1 WHERE user_id = {_ANN}",
            f"UPDATE holdings SET shares = shares + 0.01, cost_basis = cost_basis + 1 WHERE user_id = {_BOB}",
        ],
        {"holding"},
        {"positions"},
    ),
    "broker position changed": (["UPDATE broker_positions SET shares = shares + 1"], {"holding"}, {"positions"}),
    "correction without the broker's position": (
        [_INSERT + f"VALUES (0, {_TODAY}, NULL, 'correction', '12100', '67050', 1, 'SBUX', 0, now())"],
        {"holding"},
        {"positions"},
    ),
    "seal missing": (
        ["DELETE FROM ledger_seals WHERE day = (SELECT min(day) + 1 FROM ledger_seals)"],
        {"seal"},
        {"seal"},
    ),
    "first seal missing": (
        ["DELETE FROM ledger_seals WHERE day = (SELECT min(day) FROM ledger_seals)"],
        {"seal", "audit"},
        {"seal"},
    ),
    "seal changed": (["UPDATE ledger_seals SET rows = rows + 1 WHERE rows > 0"], {"seal"}, {"seal"}),
    "seals reordered": (
        [
            "UPDATE ledger_seals SET day = '2000-01-01' WHERE day = (SELECT min(day) FROM ledger_seals)",
            "UPDATE ledger_seals SET day = day - 1 WHERE day > '2000-01-01'",
            "UPDATE ledger_seals SET day = (SELECT max(day) + 1 FROM ledger_seals) WHERE day = '2000-01-01'",
        ],
        {"seal", "audit"},
        {"seal"},
    ),
    "audit trail truncated": (["TRUNCATE audit_events"], {"audit"}, {"audit"}),
    "end of the audit trail deleted": (["DELETE FROM audit_events WHERE action = 'POST b'"], {"audit"}, {"audit"}),
    "audit event changed": (["UPDATE audit_events SET action = 'POST c' WHERE action = 'POST a'"], {"audit"}, set()),
    "audit event deleted": (["DELETE FROM audit_events WHERE action = 'POST a'"], {"audit"}, set()),
}


@pytest.mark.parametrize("kind", CASES)
def test_tampering_is_found(sealed_books: None, kind: str) -> None:
    statements, with_all, without = CASES[kind]
    strike(*statements)
    assert (found(), found(everything=False)) == (with_all, without)


@pytest.mark.parametrize(
    ("statements", "checks"),
    [
        (
            [
                "UPDATE ledger_transfers SET amount = 0.26 WHERE kind = 'fee'",
                "UPDATE transactions SET total_debit = amount + round_up + 0.26, fee = 0.26, fee_cents = 26",
            ],
            {"fee", "customer"},
        ),
        (
            [
                "DELETE FROM ledger_transfers WHERE kind = 'fee'",
                "UPDATE transactions SET total_debit = amount + round_up, fee = 0, fee_cents = 0",
            ],
            {"fee", "customer"},
        ),
        (["UPDATE platform_fees SET fee = 0.01"], {"fee"}),
    ],
)
def test_a_fee_other_than_that_of_its_day_is_found(statements: list[str], checks: set[str]) -> None:
    make_company("SBUX")
    make_merchant()
    make_transaction(make_user())
    process_pending()
    assert found() == set()
    strike(*statements)
    assert found() == checks


def test_seals_made_again_after_a_change_are_found_with_the_file(sealed_books: None, tmp_path: Path, settings) -> None:
    settings.SEALS_FILE = str(tmp_path / "seals.jsonl")
    assert seal_days() == []
    assert found(seals=Path(settings.SEALS_FILE)) == set()
    strike("UPDATE ledger_transfers SET reference = 'forged' WHERE kind = 'purchase'", "DELETE FROM ledger_seals")
    copy = Path(settings.SEALS_FILE).rename(tmp_path / "kept.jsonl")

    assert len(seal_days()) == DAYS

    assert found() == set()
    assert found(seals=copy) == {"seal"}


def test_newer_seals_than_those_of_the_file_are_no_problem(sealed_books: None, tmp_path: Path, settings) -> None:
    settings.SEALS_FILE = str(tmp_path / "seals.jsonl")
    seal_days()
    lines = (tmp_path / "seals.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "older.jsonl").write_text("".join(lines[:-1]))
    assert found(seals=tmp_path / "older.jsonl") == set()
    strike("DELETE FROM ledger_seals WHERE day = (SELECT max(day) FROM ledger_seals)")
    assert found() == set()  # the end of the chain
    assert found(seals=tmp_path / "seals.jsonl") == {"seal"}


def test_the_command_names_the_rows_and_exits_with_1(sealed_books: None, tmp_path: Path, capsys) -> None:
    call_command("verify_ledger")
    call_command("verify_ledger", "--all")
    strike("DELETE FROM ledger_transfers WHERE kind = 'fee'")
    call_command("verify_ledger")
    with pytest.raises(CommandError, match="the ledger is inconsistent"):
        call_command("verify_ledger", "--all")
    day = LedgerSeal.objects.order_by("day")[0].day
    assert f"seal: user 0, {day}: found rows 9; expected 12" in capsys.readouterr().out
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("verify_ledger", "--seals", str(tmp_path / "missing.jsonl"))

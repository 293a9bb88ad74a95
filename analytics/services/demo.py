"""A small demo: staff, customers, two months of card purchases at real brands, and the work that follows from them.

The data takes the way of real data: statements are imported, the matcher makes proposals, confident ones are approved
and bought, two reviewers decide most of the rest. Everything happens within seconds, so `demo_history.sql` then moves
proposals and decisions to the days on which they would have happened. The content depends on the date alone. Loading
the demo twice changes nothing.
"""

import csv
import io
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from dateutil.relativedelta import relativedelta
from django.conf import settings
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from analytics.models import Report
from analytics.services.ledger_days import update_ledger_days
from analytics.services.reports.generation import generate_report
from analytics.services.reports.requests import request_report
from analytics.services.rollups import rebuild_rollups
from analytics.sql import load_sql
from kamioi_site.db.partitions import ensure_partitions
from kamioi_site.db.roles import as_owner
from llm_center.models import LlmCall, LlmDataAsset, LlmMapping, MappingDecision, PendingDecision
from llm_center.services.amortization import add_asset_cost, amortize_month
from llm_center.services.brands import import_brands
from llm_center.services.calibration import fit_and_store_calibration
from llm_center.services.companies import import_companies
from llm_center.services.mapping_imports import run_mapping_import, upload_mapping_file
from llm_center.services.proposal_queue import propose_merchants
from llm_center.services.review.decisions import Action, decide_merchant
from llm_center.services.review.queue import WAITING_STATUSES
from llm_center.services.review.undo import request_undo
from llm_center.tasks import undo_decision
from transactions.market.price_refresh import refresh_stock_prices
from transactions.models import AccountMember, BackgroundTask, Company, Merchant, StockPrice, Transaction, User
from transactions.rules.market_hours import market_is_open
from transactions.rules.money import ZERO
from transactions.services.goals import create_goal
from transactions.services.ingest import create_transaction, run_statement_import, upload_statement
from transactions.services.journal import Line, create_entry, update_entry
from transactions.services.processing import process_pending, release_waiting_transactions
from transactions.services.settlement import collect_round_ups, settle_positions

ADMIN_EMAIL: Final = "admin@kamioi.example"
REVIEWERS: Final = (("ruth@kamioi.example", "Ruth Adler"), ("omar@kamioi.example", "Omar Haddad"))
ACCOUNTANT: Final = ("nadia@kamioi.example", "Nadia Rahman")
CUSTOMERS: Final = (
    ("maya@kamioi.example", "Maya Chen", "individual", "flat", 1),
    ("the-ortegas@kamioi.example", "The Ortega family", "family", "next_dollar", 1),
    ("harbor-bakery@kamioi.example", "Harbor Bakery", "business", "flat", 2),
    ("liam@kamioi.example", "Liam Novak", "individual", "next_dollar", 1),
)
PURCHASES_PER_STATEMENT: Final = 40
# Descriptor, lowest and highest amount in dollars.
BRANDS: Final = (
    ("STARBUCKS STORE #{n:05d} SEATTLE WA", 4, 12),
    ("WHOLEFDS MKT {n:05d} AUSTIN TX", 18, 160),
    ("AMZN Mktp US*{n:05d}K2", 8, 140),
    ("TRADER JOE'S #{n:03d} OAKLAND CA", 12, 90),
    ("TACO BELL {n:06d} DENVER CO", 7, 22),
    ("SHELL OIL {n:08d} MIAMI FL", 25, 70),
    ("TARGET {n:08d} BOSTON MA", 15, 130),
    ("NETFLIX.COM", 15, 16),
    ("SPOTIFY USA", 11, 12),
    ("UBER TRIP HELP.UBER.COM", 9, 45),
    ("COSTCO WHSE #{n:04d}", 40, 300),
    ("CHIPOTLE {n:04d}", 10, 25),
    ("THE HOME DEPOT #{n:04d}", 12, 240),
    ("CVS/PHARMACY #{n:05d}", 6, 60),
    ("SUBWAY {n:05d} DALLAS TX", 8, 18),
    ("MATTRESS FIRM {n:04d}", 200, 900),
    ("APPLE.COM/BILL", 1, 15),
)
# Misspelled or misleading names: the matcher is not sure, and the reviewers know the ticker ("" is none).
UNCERTAIN: Final = {
    "STARBUKS COFFEE": "SBUX", "FORD OF KIRKLAND": "", "PAPA JOHNZ": "PZZA", "APPLE PIE CAFE": "", "BEST BYU": "BBY",
    "HILTN HOTELS": "HLT", "TEXAS ROADHOSE": "TXRH", "DUTCH BROSS": "BROS", "DELTA TACOS": "", "AUTOZONEE": "AZO",
    "SHAKE SHAK": "SHAK", "WALMRT SUPERCENTR": "WMT", "FORD THEATER": "", "KROGR": "KR", "TRACTOR SUPLY": "TSCO",
    "WENDYSS": "WEN", "DOORDASHH": "DASH", "VERIZN WIRELESS": "VZ", "TARGET FITNESS": "", "ULTA BEUTY": "ULTA",
    "OLIVE GARDN": "DRI", "SAFWAY": "ACI", "CHASE FARM": "", "DISNEY TICKTS": "DIS", "CHIPOTL MEXICAN": "CMG",
    "MARRIOT HOTELS": "MAR", "WALGRENS": "", "PELOTN": "PTON", "CRACKER BARRL": "CBRL", "ORACLE YOGA": "",
    "DELTA AIR LINS": "DAL", "AIRBNBB": "ABNB", "BURGR KING": "QSR", "GAP YEAR TRAVEL": "", "WAYFAIRR": "W",
    "OREILY AUTO PARTS": "ORLY", "EXXONMOBLE": "XOM", "SOUTHWST AIRLINES": "LUV", "DELTA CAR CARE": "",
    "WILLIAMS SONAMA": "WSM", "URBAN OUTFITERS": "URBN", "HOME DEPO": "HD",
}  # fmt: skip
LOCAL_NAMES: Final = "BLUE HERON|OLD TOWN|MAPLE STREET|SUNRISE|GREEN LEAF|LA PALOMA".split("|")
LOCAL_TRADES: Final = "COFFEE|HARDWARE|BOOKS|YOGA STUDIO|LAUNDRY|TAQUERIA|BARBER".split("|")
LOCALS: Final = [f"{name} {trade}" for name in LOCAL_NAMES for trade in LOCAL_TRADES]
# The row that is written last; the demo is complete when it exists.
FAILED_TASK: Final = UUID("00000000-0000-4000-8000-00000000de30")
# A statement covers ten days; each brings new merchants, which the reviewers then decide.
DAYS, STATEMENT_DAYS = 60, 10


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """The demo's administrator; the random password is stored in a file on this machine only."""

    email: str
    password: str
    path: Path


def load_demo(*, say: Callable[[str], object]) -> DemoLogin:
    """Load the demo unless it is complete, and report each step."""
    login = _login()
    if BackgroundTask.objects.filter(pk=FAILED_TASK).exists():
        say("the demo is already loaded")
        return login
    if not Company.objects.exists():
        say(f"companies: {import_companies().read:,}, brands: {import_brands().read:,}")
    say(f"prices: {refresh_stock_prices().stored} new quotes")
    now = timezone.now()
    trading = _last_trading_hour(now)
    if not StockPrice.objects.filter(as_of__lte=trading).exists():
        StockPrice.objects.update(as_of=trading)  # purchases are booked at the last prices of that hour
        _store_month_end_prices(now)
    customers, reviewers = _customers(login.password), _reviewers(login.password)
    decided = 0
    for days_ago in range(DAYS, 0, -STATEMENT_DAYS):
        _import_statements(customers, now.date() - timedelta(days=days_ago - 1))
        process_pending(now=trading)
        propose_merchants()
        decided += _decide_queue(reviewers, trading, is_last=days_ago == STATEMENT_DAYS)
    refresh_stock_prices()
    say(f"merchants: {Merchant.objects.count():,}, decisions by two reviewers: {decided}")
    _queue_order(customers[0], now)
    _repeat_a_purchase(customers[0])
    _request_second_approval(reviewers[0])
    _import_mapping_file(login, say)
    _move_to_past(now)
    fit_and_store_calibration()
    _keep_books(login, now.date())
    _settle(say)
    rebuild_rollups()
    for _ in range(2):  # the first round sets the mark, the second counts up to it; no other writer is active
        update_ledger_days(settle=None)
    _make_reports(now.date())
    _log_llm_calls(now)
    BackgroundTask.objects.create(
        pk=FAILED_TASK,
        name="refresh_prices",
        status=BackgroundTask.Status.FAILED,
        attempts=5,
        error="The price provider did not respond within 30 seconds.",
        created_at=now - timedelta(hours=3),
        finished_at=now - timedelta(hours=2),
    )
    return login


def _store_month_end_prices(now: datetime) -> None:
    """Store the same prices for the end of last month: account statements value holdings at that time."""
    month_end = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0) - timedelta(hours=4)
    quotes = StockPrice.objects.values("ticker", "price", "source")
    StockPrice.objects.bulk_create([StockPrice(**quote, as_of=month_end) for quote in quotes])


def _login() -> DemoLogin:
    """Return the administrator's login; create the user and the password at the first call."""
    path = settings.KAMIOI_HOME / "demo-login.txt"
    admin = User.objects.with_email(ADMIN_EMAIL).first()
    if admin is not None and path.exists():
        return DemoLogin(ADMIN_EMAIL, path.read_text().split()[-1], path)
    password = secrets.token_urlsafe(9)
    if admin is None:
        User.objects.create_superuser(ADMIN_EMAIL, password, name="Demo administrator")
    else:
        admin.set_password(password)
        admin.save(update_fields=["password", "updated_at"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(f"{ADMIN_EMAIL}\n{password}\n")
    return DemoLogin(ADMIN_EMAIL, password, path)


def _user(email: str, password: str, **fields: Any) -> tuple[User, bool]:
    user = User.objects.with_email(email).first()
    return (user, False) if user else (User.objects.create_user(email, password, **fields), True)


def _reviewers(password: str) -> list[User]:
    reviewers = [_user(email, password, name=name, is_staff=True)[0] for email, name in REVIEWERS]
    for reviewer in reviewers:
        reviewer.groups.add(Group.objects.get(name="reviewer"))
    return reviewers


def _last_trading_hour(now: datetime) -> datetime:
    """Return the last full hour with the market open, so that purchases do not depend on the time of loading."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    while not market_is_open(hour):
        hour -= timedelta(hours=1)
    return hour


def _customers(password: str) -> list[User]:
    customers = []
    for email, name, kind, rule, amount in CUSTOMERS:
        user, created = _user(email, password, name=name, account_type=kind, round_up_rule=rule, round_up_amount=amount)
        if created:
            create_goal(user=user, title="Emergency fund", target_amount=Decimal(2500), current_amount=Decimal(640))
        customers.append(user)
    family, member = customers[1], customers[3]
    AccountMember.objects.get_or_create(
        owner=family, email="sofia@kamioi.example", defaults={"name": "Sofia Ortega", "role": "child"}
    )
    AccountMember.objects.get_or_create(
        owner=family,
        email=member.email,
        defaults={"name": member.name, "user": member, "status": "active", "answered_at": timezone.now()},
    )
    return customers


def _import_statements(customers: list[User], first: date) -> None:
    """Import a statement of each customer; a file that was imported before adds nothing."""
    for user in customers:
        filename = f"{user.name.lower().replace(' ', '-')}-{first:%m-%d}.csv"
        # The refund of a shop looks like a purchase with the other sign.
        _import_file(user, filename, _statement(user.email, first), spending="negative", account="Everyday checking")


def _import_file(user: User, filename: str, text: str, *, spending: str, account: str = "") -> None:
    statement = upload_statement(
        user=user,
        filename=filename,
        requested_by=user,
        content=ContentFile(text.encode()),
        account=account,
        answers={"spending": spending},
        send=False,
        limited=False,
    )
    run_statement_import(task_id=statement.task_id)


def _statement(email: str, first: date) -> str:
    """Write ten days of purchases as a bank does, newest first, with a refund and an invalid row."""
    period = (DAYS - (timezone.now().date() - first).days) // STATEMENT_DAYS
    rng = random.Random(f"{email} {period}")
    periods = DAYS // STATEMENT_DAYS
    # Most merchants of a period appear for the first time.
    brands = BRANDS[: 7 + 2 * period]
    uncertain, locals_ = list(UNCERTAIN)[period::periods], LOCALS[period::periods]
    merchants = [*brands, *((name, 6, 90) for name in uncertain), *((name, 4, 60) for name in locals_)]
    weights = [3] * len(brands) + [2] * len(uncertain) + [2] * len(locals_)
    rows = []
    for descriptor, low, high in rng.choices(merchants, weights, k=PURCHASES_PER_STATEMENT):
        day = first + timedelta(days=rng.randrange(STATEMENT_DAYS))
        amount = Decimal(rng.randrange(low * 100, high * 100)) / 100
        rows.append((day, descriptor.format(n=rng.randrange(1, 9999)), -amount))
    rows.append((first + timedelta(days=6), "TARGET 00001234 BOSTON MA", Decimal("24.99")))
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["Posting Date", "Description", "Amount", "Category"])
    writer.writerows(
        [f"{day:%m/%d/%Y}", descriptor, f"{amount:.2f}", ""] for day, descriptor, amount in sorted(rows, reverse=True)
    )
    writer.writerow([f"{first:%m/%d/%Y}", "INVALID AMOUNT", "twelve", ""])
    return out.getvalue()


def _decide_queue(reviewers: list[User], trading: datetime, *, is_last: bool) -> int:
    """Let the reviewers decide the queue in turn; in the last period they leave a part of it and undo a decision."""
    queue = Merchant.objects.filter(status__in=WAITING_STATUSES, source="matcher").order_by("id")
    decisions: list[MappingDecision] = []
    approved: list[MappingDecision] = []
    for number, merchant in enumerate(queue):
        if is_last and (number % 3 == 0 if merchant.ticker is None else approved):
            continue
        action, ticker = _choose_action(merchant, number)
        result = decide_merchant(
            merchant_id=merchant.pk,
            action=action,
            actor=reviewers[number % 2],
            expected_updated_at=None,
            ticker=ticker,
            reason="A different company." if action == Action.REJECT else "",
            release=False,
        )
        if result.decision is not None:
            decisions.append(result.decision)
            approved += [result.decision] if action == Action.APPROVE else []
    released = [decision for decision in decisions if decision.action != Action.REJECT]
    release_waiting_transactions(merchant_keys=[decision.merchant_key for decision in released])
    process_pending(now=trading)
    if is_last:
        undo = request_undo(decision_id=approved[-1].pk, actor=reviewers[0], reason="Approved by mistake.")
        if undo.task is not None:
            undo_decision(str(undo.task.pk))
            process_pending(now=trading)
    return len(decisions)


def _choose_action(merchant: Merchant, number: int) -> tuple[Action, str]:
    """Return what a reviewer who knows the merchant decides."""
    ticker = UNCERTAIN.get(merchant.merchant_key, "")
    if ticker:
        return (Action.APPROVE, "") if ticker == merchant.ticker else (Action.CORRECT, ticker)
    return (Action.REJECT if merchant.ticker and number % 3 == 0 else Action.NOT_LISTED), ""


def _queue_order(customer: User, now: datetime) -> None:
    """Store a purchase that waits for the market: the demo's market never closes, so the trading hours apply here."""
    create_transaction(user=customer, amount=Decimal("15.49"), merchant="NETFLIX.COM", idempotency_key="demo-order")
    with override_settings(MARKET_ALWAYS_OPEN=False):
        while market_is_open(now):
            now += timedelta(hours=1)
        process_pending(now=now)


def _repeat_a_purchase(customer: User) -> None:
    """Import the newest purchase again, from a file of another program: a possible duplicate."""
    newest = customer.transactions.filter(status=Transaction.Status.COMPLETED).latest("date", "id")
    text = f"Date,Merchant,Amount\n{newest.date:%Y-%m-%d},{newest.merchant},{newest.amount}\n"
    _import_file(customer, "budget-app.csv", text, spending="positive")


def _request_second_approval(reviewer: User) -> None:
    merchants = Merchant.objects.filter(status=Merchant.Status.PROPOSED, ticker__isnull=False)
    if merchant := merchants.order_by("-confidence", "id").first():
        PendingDecision.objects.get_or_create(
            merchant=merchant,
            defaults={"action": Action.APPROVE, "ticker": merchant.ticker or "", "requested_by": reviewer},
        )


def _import_mapping_file(login: DemoLogin, say: Callable[[str], object]) -> None:
    content = (
        "Merchant Name,Category,Ticker,Company Name,Confidence\n"
        "STARBUCKS RESERVE,Coffee,SBUX,Starbucks Corporation,97\n"
        'AMAZON FRESH,Groceries,AMZN,"Amazon.com, Inc.",95\n'
        "CORNER DELI,Groceries,NONE AT ALL,,90\n"
    )
    imported = upload_mapping_file(
        filename="partner-mappings.csv",
        content=ContentFile(content.encode()),
        actor=User.objects.get(email=login.email),
        note="Sample file of a partner",
    )
    done = run_mapping_import(task_id=imported.task_id)
    if done:
        say(f"mapping file: {done.rows_added} mappings, {done.rows_rejected} rejected rows")


def _move_to_past(now: datetime) -> None:
    """Spread proposals and decisions over the last 60 days."""
    ensure_partitions(LlmMapping, [now - relativedelta(months=months) for months in range(3)])
    # The application cannot change decisions.
    with as_owner(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(load_sql("demo_history"), {"now": now, "days": DAYS})


def _keep_books(login: DemoLogin, today: date) -> None:
    """Capitalize a data asset, amortize it up to last month, and post a journal entry; leave another one as a draft."""
    admin = User.objects.get(email=login.email)
    accountant, _ = _user(ACCOUNTANT[0], login.password, name=ACCOUNTANT[1], is_staff=True)
    accountant.groups.add(Group.objects.get(name="finance"))
    in_service = today.replace(day=1) - relativedelta(months=5)
    asset, created = LlmDataAsset.objects.get_or_create(
        asset_name="Merchant matcher 2.0",
        defaults={
            "asset_type": "model",
            "status": LlmDataAsset.Status.PRODUCTION,
            "useful_life_months": 36,
            "in_service_on": in_service,
        },
    )
    if created:
        for component, amount in (("staff", 28_000), ("computing", 14_000), ("data", 6_000)):
            add_asset_cost(
                asset_id=asset.pk, amount=Decimal(amount), component=component, dated_on=in_service, actor=admin
            )
        amortize_month(month=today.replace(day=1) - relativedelta(months=1))
        capital, _ = [
            create_entry(
                fields={"entry_date": today - timedelta(days=days_ago), "description": "Capital contribution"},
                lines=[Line("10100", amount, ZERO), Line("30900", ZERO, amount)],
                actor=accountant,
                post=False,
            )
            for days_ago, amount in ((50, Decimal(100_000)), (2, Decimal(25_000)))
        ]
        update_entry(entry_id=capital.pk, fields={}, lines=None, actor=admin, post=True)


def _settle(say: Callable[[str], object]) -> None:
    """Collect what the customers owe, and let the house buy what they own."""
    with override_settings(SETTLEMENT_PROVIDER="paper"):
        collected, settled = collect_round_ups(), settle_positions()
    say(f"collected: ${collected.amount:,}, orders of the house: {settled.orders} for ${settled.bought:,}")


def _make_reports(today: date) -> None:
    customer = User.objects.get(email=CUSTOMERS[0][0])
    month = today.replace(day=1) - relativedelta(months=1)
    statement = request_report(kind=Report.Kind.STATEMENT, period=month, user=customer, requested_by=None)
    generate_report(task_id=str(statement.pk))
    # Left to a worker: it waits half a minute for open transactions.
    request_report(kind=Report.Kind.FINANCE, period=month, user=None, requested_by=None)


def _log_llm_calls(now: datetime) -> None:
    """Log calls to a language model: one on most days, an error now and then."""
    rng = random.Random(60)
    calls = []
    for days in range(DAYS, 0, -1):
        merchants, failed = rng.randrange(4, 25), days % 17 == 5
        prompt, completion = 180 + merchants * 60, 0 if failed else merchants * 45
        calls.append(
            LlmCall(
                started_at=now - timedelta(days=days, minutes=rng.randrange(600)),
                provider="openai",
                model="demo-model",
                merchants=merchants,
                prompt_tokens=prompt,
                completion_tokens=completion,
                cost=Decimal(prompt * 3 + completion * 15) / 1_000_000,
                duration_ms=rng.randrange(900, 4200),
                retries=3 if failed else 0,
                error="429: rate limit exceeded" if failed else "",
            )
        )
    LlmCall.objects.bulk_create(calls)

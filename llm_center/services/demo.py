"""A small living example: staff, customers, companies, prices, and two months of card purchases at real brands.

Everything goes the way of real data: statements are imported, the matcher proposes, what it is sure of is approved
and bought, and what it is not sure of waits in the review queue. Loading twice changes nothing.
"""

import csv
import io
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile

from llm_center.services.brands import import_brands
from llm_center.services.companies import import_companies
from llm_center.services.proposal_queue import propose_merchants
from transactions.market.price_refresh import refresh_stock_prices
from transactions.models import Company, User
from transactions.services.ingest import run_statement_import, upload_statement
from transactions.services.processing import process_pending

ADMIN_EMAIL = "admin@kamioi.example"
CUSTOMERS = (
    ("maya@kamioi.example", "Maya Chen", "individual", "flat", 1),
    ("the-ortegas@kamioi.example", "The Ortega family", "family", "next_dollar", 1),
    ("harbor-bakery@kamioi.example", "Harbor Bakery", "business", "flat", 2),
)
PURCHASES = (
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
    ("DELTA DENTAL OF CA", 30, 60),
    ("MATTRESS FIRM {n:04d}", 200, 900),
    ("APPLE.COM/BILL", 1, 15),
    ("SQ *BLUE HERON COFFEE", 4, 11),
    ("TST* JOES DINER", 12, 48),
    ("CORNER LAUNDRY", 6, 20),
    ("CITY PARKING METER", 2, 12),
    ("OLD TOWN HARDWARE", 9, 75),
    ("SUNRISE YOGA STUDIO", 18, 40),
    ("STARBUKS COFFEE", 4, 9),
    ("DELTA CAR CARE", 40, 220),
    ("FORD OF KIRKLAND", 80, 400),
    ("BEST BUY GEEK SQUAD", 40, 150),
    ("LA PALOMA TAQUERIA", 11, 46),
    ("GREEN LEAF NURSERY", 12, 95),
    ("MAPLE STREET BOOKS", 9, 55),
)


@dataclass(frozen=True, slots=True)
class DemoLogin:
    """The demo's administrator. The password is random and stands in a file of this machine only."""

    email: str
    password: str
    path: Path


def load_demo(*, say: Callable[[str], object]) -> DemoLogin:
    """Load what is missing of the demo and process it, saying each step."""
    login = _login()
    if not Company.objects.exists():
        say(f"companies: {import_companies().read:,}, brands: {import_brands().read:,}")
    refreshed = refresh_stock_prices()
    say(f"prices: {refreshed.stored} new quotes")
    rng = random.Random(20)
    for email, name, kind, rule, amount in CUSTOMERS:
        user = User.objects.filter(email__iexact=email).first()
        if user is not None:
            continue
        user = User.objects.create_user(
            email, login.password, name=name, account_type=kind, round_up_rule=rule, round_up_amount=amount
        )
        statement = upload_statement(
            user=user,
            filename=f"{name.lower().replace(' ', '-')}.csv",
            requested_by=user,
            content=ContentFile(_statement(rng, datetime.now(UTC).date()).encode()),
            send=False,
        )
        if done := run_statement_import(task_id=statement.task_id):
            say(f"{email}: {done.rows_added} purchases, {done.rows_rejected} unreadable rows")
    processed = process_pending()
    say(f"processed: {dict(processed.statuses)}")
    proposed = propose_merchants()
    say(f"merchants proposed: {proposed.proposed}, approved without a reviewer: {proposed.decided}")
    processed = process_pending()
    say(f"processed: {dict(processed.statuses)}, invested ${processed.invested}")
    return login


def _login() -> DemoLogin:
    """The administrator and their password; made once, then read back."""
    path = settings.KAMIOI_HOME / "demo-login.txt"
    admin = User.objects.filter(email__iexact=ADMIN_EMAIL).first()
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


def _statement(rng: random.Random, today: date) -> str:
    """Sixty days of purchases as a bank writes them, newest first, with one refund and one unreadable row."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["Posting Date", "Description", "Amount", "Category"])
    rows = []
    for _ in range(160):
        descriptor, low, high = rng.choice(PURCHASES)
        day = today - timedelta(days=rng.randrange(60))
        amount = Decimal(rng.randrange(low * 100, high * 100)) / 100
        rows.append((day, descriptor.format(n=rng.randrange(1, 9999)), -amount))
    rows.append((today - timedelta(days=3), "TARGET 00001234 BOSTON MA", Decimal("24.99")))
    for day, descriptor, amount in sorted(rows, reverse=True):
        writer.writerow([f"{day:%m/%d/%Y}", descriptor, f"{amount:.2f}", ""])
    writer.writerow([f"{today:%m/%d/%Y}", "UNREADABLE AMOUNT", "twelve", ""])
    return out.getvalue()

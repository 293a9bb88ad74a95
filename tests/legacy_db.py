"""Small legacy databases with the tables and the kinds of invalid data of the legacy system's file."""

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE NOT NULL, name TEXT NOT NULL,
  account_type TEXT NOT NULL, account_number TEXT UNIQUE, user_guid TEXT, password TEXT, city TEXT, state TEXT,
  zip_code TEXT,
  phone TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  round_up_amount REAL DEFAULT 1.00, ssn_last4 TEXT, mx_data TEXT);
CREATE TABLE admins (id INTEGER PRIMARY KEY, email TEXT, password TEXT, name TEXT, role TEXT, permissions TEXT,
  is_active BOOLEAN, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE transactions (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, date TIMESTAMP NOT NULL,
  merchant TEXT, amount REAL NOT NULL, category TEXT, description TEXT, investable REAL DEFAULT 0,
  round_up REAL DEFAULT 0,
  total_debit REAL NOT NULL, ticker TEXT, shares REAL, price_per_share REAL, stock_price REAL,
  status TEXT DEFAULT 'pending',
  fee REAL DEFAULT 0, transaction_type TEXT DEFAULT 'bank', created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  receipt_id TEXT);
CREATE TABLE llm_mappings (id INTEGER PRIMARY KEY AUTOINCREMENT, transaction_id INTEGER, merchant_name TEXT NOT NULL,
  ticker TEXT, category TEXT, confidence REAL DEFAULT 0, status TEXT DEFAULT 'pending', admin_approved BOOLEAN,
  ai_processed BOOLEAN, company_name TEXT, user_id TEXT, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  ai_reasoning TEXT, ai_model_version TEXT, ai_auto_approved BOOLEAN, ai_processing_duration INTEGER,
  ai_decision_timestamp DATETIME, surprise TEXT);
CREATE TABLE portfolios (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, ticker TEXT NOT NULL,
  shares REAL,
  average_price REAL, current_price REAL, total_value REAL, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE notifications (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER NOT NULL, title TEXT NOT NULL,
  message TEXT NOT NULL, type TEXT DEFAULT 'info', read BOOLEAN DEFAULT FALSE,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE market_queue (id INTEGER PRIMARY KEY, transaction_id INTEGER, user_id INTEGER, ticker TEXT, amount REAL,
  status TEXT DEFAULT 'queued', created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, processed_at TIMESTAMP);
CREATE TABLE goals (id INTEGER PRIMARY KEY, user_id INTEGER, title TEXT, target_amount REAL);
CREATE TABLE user_settings (id INTEGER PRIMARY KEY, user_id INTEGER, setting_key TEXT, setting_value TEXT);
CREATE TABLE admin_settings (id INTEGER PRIMARY KEY, setting_key TEXT UNIQUE, setting_value TEXT, setting_type TEXT,
  description TEXT);
CREATE TABLE chart_of_accounts (account_number TEXT PRIMARY KEY, account_name TEXT, account_type TEXT,
  is_active INTEGER);
CREATE TABLE journal_entries (id TEXT PRIMARY KEY, date TEXT, reference TEXT, description TEXT, amount REAL,
  from_account TEXT, to_account TEXT, status TEXT, created_at TEXT);
CREATE TABLE journal_entry_lines (id INTEGER PRIMARY KEY, journal_entry_id TEXT, account_code TEXT, debit REAL,
  credit REAL,
  description TEXT);
CREATE TABLE llm_assets (id INTEGER PRIMARY KEY, asset_name TEXT, asset_type TEXT, development_start_date TEXT,
  production_ready_date TEXT, status TEXT, useful_life_months INTEGER);
CREATE TABLE llm_data_assets (id INTEGER PRIMARY KEY, asset_name TEXT, asset_type TEXT, current_value REAL,
  training_cost REAL);
CREATE TABLE ai_responses (id INTEGER PRIMARY KEY, mapping_id INTEGER, merchant_name TEXT, admin_correct_ticker TEXT,
  was_ai_correct INTEGER);
CREATE TABLE password_reset_tokens (email TEXT, token TEXT, expires_at REAL);
CREATE TABLE blog_posts (slug TEXT, lang TEXT, body TEXT, PRIMARY KEY (slug, lang)) WITHOUT ROWID;
CREATE TABLE "odd table" ("a column" TEXT, secret_token TEXT);
"""
SHA256 = hashlib.sha256(b"old-secret").hexdigest()
# Of werkzeug, for 'right-one'.
SCRYPT = (
    "scrypt:32768:8:1$somesalt$"
    + hashlib.scrypt(b"right-one", salt=b"somesalt", n=32768, r=8, p=1, maxmem=2**26, dklen=64).hex()
)
PLAIN = "plain-words-1"


def make_legacy(path: Path, *, rows: int = 0) -> Path:
    """Write a legacy file in WAL mode with every kind of invalid data, and `rows` clean transactions and mappings."""
    with closing(sqlite3.connect(path)) as source:
        source.execute("PRAGMA journal_mode = WAL")
        source.executescript(SCHEMA)
        _people(source)
        _transactions(source)
        _mappings(source)
        _rest(source)
        for n in range(rows):
            day = f"2025-{1 + n % 12:02d}-{1 + n % 28:02d} 10:00:00"
            insert(
                source,
                "transactions",
                user_id=1 + n % 2,
                date=day,
                merchant=f"CORNER SHOP {n % 50}",
                amount=10 + n % 7,
                total_debit=11 + n % 7,
                round_up=1,
                status="completed",
                created_at=day,
            )
            insert(
                source,
                "llm_mappings",
                merchant_name=f"CORNER SHOP {n % 50}",
                ticker="SBUX",
                confidence=0.9,
                status="approved",
                admin_approved=1,
                user_id="1",
                created_at=day,
            )
        source.commit()
    return path


def insert(source: sqlite3.Connection, table: str, **cells: Any) -> int:
    """Insert one row and return its row number."""
    names = ", ".join(f'"{name}"' for name in cells)
    marks = ", ".join("?" * len(cells))
    return source.execute(f'INSERT INTO "{table}" ({names}) VALUES ({marks})', list(cells.values())).lastrowid or 0


def _people(source: sqlite3.Connection) -> None:
    insert(
        source,
        "users",
        id=1,
        email="ann@example.com",
        name="Ann",
        account_type="individual",
        account_number="I0000001",
        password=SCRYPT,
        created_at="2024-01-02 03:04:05",
        mx_data="{}",
    )
    insert(
        source,
        "users",
        id=2,
        email="Bob@Example.com",
        name="Bob",
        account_type="family",
        password=PLAIN,
        round_up_amount=3.4,
        ssn_last4="1234",
    )
    insert(source, "users", id=3, email="bob@example.com", name="Bob too", account_type="user", password=SHA256)
    insert(source, "users", id=4, email="none", name="No e-mail", account_type="business", password="gets-hashed-too")
    insert(
        source,
        "users",
        id=5,
        email="eve@example.com",
        name="Eve\0",
        account_type="business",
        password=None,
        round_up_amount=500,
    )
    insert(
        source, "admins", id=1, email="root@example.com", password=SHA256, name="Root", role="superadmin", is_active=1
    )
    insert(source, "admins", id=2, email="ann@example.com", password=PLAIN, name="Ann", role="admin", is_active="TRUE")
    insert(source, "admins", id=3, email="gone@example.com", password=PLAIN, name="Gone", role="admin", is_active=0)
    insert(source, "user_settings", user_id=1, setting_key="round_up_enabled", setting_value="False")


def _transactions(source: sqlite3.Connection) -> None:
    base = {"user_id": 1, "date": "2025-03-04 05:06:07", "merchant": "STARBUCKS #12", "amount": 4.5, "total_debit": 4.5}
    odd: list[dict[str, Any]] = [
        {"status": "pending"},
        {
            "status": " Completed ",
            "shares": 1,
            "price_per_share": 1,
            "investable": 1,
            "round_up": 1,
            "total_debit": 5.75,
            "fee": 0.25,
        },  # simulated purchase
        {"date": "2025-03-04T05:06:07.123456", "status": "completed"},
        {"date": "2025-03-04T05:06:07Z", "status": "completed"},
        {"date": "2025-03-04T05:06:07+02:00", "status": "completed"},
        {"date": "2025-03-04", "status": "completed"},
        {"date": "03/04/2025", "status": "completed"},
        {"date": 1741064767, "status": "completed"},
        {"date": "", "created_at": "2025-05-05 05:05:05", "status": "completed"},
        {"date": "last tuesday", "created_at": None},  # rejected
        {"user_id": 999},  # rejected
        {"amount": "$12.50", "total_debit": "12.5", "status": "completed"},
        {"amount": "twelve"},  # rejected
        {"amount": 0.1 + 0.2, "total_debit": 0.1 + 0.2, "status": "completed"},
        {
            "amount": -20,
            "total_debit": 23,
            "round_up": 1,
            "fee": 2,
            "status": "completed",
        },  # business upload: a purchase
        {"amount": -20, "total_debit": -20, "status": "completed"},  # refund
        {"amount": 0, "total_debit": 0, "status": "pending-approval"},  # manual submit
        {"amount": 10.15, "round_up": 1, "fee": 1.015, "total_debit": 12.165, "status": "weird"},
        {"merchant": 'CAF\0É\t\n\\ "x" 🙂', "description": "d" * 600, "category": None, "status": "completed"},
        {"ticker": "RETAIL", "status": "mapped", "receipt_id": "R1"},
        {"ticker": " sbux", "status": "completed", "investable": -3, "shares": 0.123456785, "price_per_share": 91.5},
        {"status": "needs-recognition", "merchant": "MYSTERY SHOP", "round_up": 2, "total_debit": 99},
        {"user_id": "2", "status": "cancelled", "transaction_type": None},
    ]
    for cells in odd:
        insert(source, "transactions", **(base | cells))
    source.execute(
        "INSERT INTO transactions (user_id, date, merchant, amount, total_debit, status) "
        "VALUES (1, '2025-03-04', CAST(x'43414645c9' AS TEXT), 3, 3, 'completed')"
    )


def _mappings(source: sqlite3.Connection) -> None:
    base = {
        "merchant_name": "STARBUCKS #12",
        "ticker": "SBUX",
        "confidence": 0.9,
        "status": "approved",
        "admin_approved": 1,
        "user_id": "1",
        "created_at": "2025-02-03 04:05:06",
        "transaction_id": 1,
    }
    odd: list[dict[str, Any]] = [
        {},
        {"confidence": 95},
        {"confidence": "95%"},
        {"confidence": 87.135},
        {"confidence": -4},
        {"status": "pending", "admin_approved": 1},
        {"status": "approved", "admin_approved": -1},
        {"status": "APPROVED", "admin_approved": "TRUE", "ai_processed": "yes"},
        {"status": "applied", "admin_approved": None},
        {"status": "what", "admin_approved": "maybe"},
        {"user_id": " 2 "},
        {"user_id": "anonymous"},
        {"user_id": ""},
        {"user_id": None},
        {"user_id": "777"},
        {"transaction_id": "bulk_3_1700000000", "user_id": 2},
        {"transaction_id": "bulk_3_1700000000", "user_id": 2},
        {"transaction_id": 4242},
        {"transaction_id": "12", "ai_reasoning": "because\0", "surprise": "!"},
        {"ticker": "FOOD"},
        {"ticker": ""},
        {"merchant_name": "  "},  # rejected
        {"created_at": "soon"},  # rejected
        {"created_at": None, "ai_decision_timestamp": "2025-02-03T04:05:06"},
        {"merchant_name": "TWO MINDS", "ticker": "SBUX", "created_at": "2025-01-01 00:00:00"},
        {"merchant_name": "TWO MINDS", "ticker": "AAPL", "created_at": "2025-06-01 00:00:00"},
        {"merchant_name": "TWO MINDS", "ticker": "AAPL"},
        {"merchant_name": "OLD CHAIN", "ticker": "RAD"},
        {"merchant_name": "NEVER SO", "ticker": "AAPL", "status": "rejected", "admin_approved": -1},
    ]
    for cells in odd:
        insert(source, "llm_mappings", **(base | cells))


def _rest(source: sqlite3.Connection) -> None:
    insert(
        source,
        "portfolios",
        user_id=1,
        ticker="AAPL",
        shares=1.5,
        average_price=100.01,
        created_at="2024-05-06 00:00:00",
    )
    insert(source, "portfolios", user_id=1, ticker="AAPL", shares=0.5, average_price=90)
    insert(source, "portfolios", user_id=2, ticker="SBUX", shares="2", average_price="$80.00")
    insert(source, "portfolios", user_id=999, ticker="SBUX", shares=1, average_price=1)  # rejected
    insert(source, "portfolios", user_id=1, ticker="SBUX", shares=0, average_price=1)  # rejected
    insert(source, "notifications", user_id=1, title="Hello", message="World", read="TRUE")
    insert(source, "notifications", user_id=999, title="No user", message="there")  # rejected
    insert(source, "market_queue", transaction_id=1, user_id=1, ticker="SBUX", amount=1.0)
    insert(source, "goals", user_id=1, title="A house", target_amount=1000.5)
    insert(source, "admin_settings", setting_key="platform_fee", setting_value="0.30", setting_type="decimal")
    insert(source, "admin_settings", setting_key="confidence_threshold", setting_value="high")
    insert(source, "admin_settings", setting_key="deepseek_api_key", setting_value="sk-very-secret")
    insert(source, "chart_of_accounts", account_number="40999", account_name="Odd income", account_type="Income")
    insert(source, "journal_entries", id="JE-1", date="2025-01-31", amount=100, status="posted")
    insert(source, "journal_entry_lines", journal_entry_id="JE-1", account_code="15200", debit=100, credit=0)
    insert(source, "journal_entry_lines", journal_entry_id="JE-1", account_code=" 40999 ", debit=0, credit=60.5)
    insert(source, "journal_entry_lines", journal_entry_id="JE-1", account_code="67010", debit=0, credit=39.5)
    insert(source, "journal_entries", id="JE-2", date="2025-01-31", amount=5, status="posted")  # rejected
    insert(source, "journal_entry_lines", journal_entry_id="JE-2", account_code="15200", debit=5, credit=0)
    insert(source, "journal_entries", id="JE-3", date="2025-01-31", amount=5, status="draft")
    insert(
        source,
        "llm_assets",
        asset_name="KamioiGPT",
        asset_type="model",
        production_ready_date="2025-01-01",
        status="production",
        useful_life_months=36,
    )
    insert(source, "llm_data_assets", asset_name="Data", asset_type="dataset", current_value=10, training_cost=20.5)
    insert(
        source, "ai_responses", mapping_id=1, merchant_name="STARBUCKS", admin_correct_ticker="SBUX", was_ai_correct=1
    )
    insert(source, "password_reset_tokens", email="ann@example.com", token="t", expires_at=1.5)
    insert(source, "blog_posts", slug="a", lang="en", body="words")
    insert(source, "odd table", **{"a column": "kept", "secret_token": "hush"})

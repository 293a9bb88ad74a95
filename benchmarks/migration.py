"""A legacy SQLite file into PostgreSQL: `migrate_from_sqlite copy` beside pgloader and a bare `\\copy`.

- `ours` is the whole command, start of Python included: the rules applied to every row, ids kept, merchants normalised,
  monthly partitions with all their indexes, merchant directory, opening balances in the ledger, constraints checked.
- `peer` is pgloader with its defaults on the same file and server, and then our schema for the two big tables: the same
  column types, the missing columns, the same indexes and the same check and unique constraints.
- `loader` is pgloader alone: the tables as they are, with primary keys only.
- `limit` is psql's `\\copy` of our rows, prepared as text, into tables without an index.

The file is clean, which favours a loader without rules. Without pgloader (`apt-get install pgloader`, as root) only the
limit is measured.
"""

import argparse
import os
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg2

from benchmarks import common
from benchmarks.ingest import _peak_of
from tests.legacy_db import SCHEMA, SCRYPT

_NAME = "kamioi_bench_migration"
_TARGET = "kamioi_bench_pgloader"
_TABLES = ("transactions", "llm_mappings")
_USERS = 2_000
_BRANDS = (
    "STARBUCKS",
    "WHOLEFDS",
    "TARGET",
    "SHELL OIL",
    "AMAZON",
    "NETFLIX",
    "DELTA AIR",
    "HOME DEPOT",
    "CVS",
    "UBER",
)
_TICKERS = ("SBUX", "AMZN", "TGT", "SHEL", "AMZN", "NFLX", "DAL", "HD", "CVS", "UBER")


def write_legacy(path: Path, *, mappings: int, transactions: int) -> None:
    """Write a clean legacy database of two years; about one descriptor in fifty is unique."""
    rng = random.Random(7)
    start = datetime(2024, 11, 1, tzinfo=UTC)

    def random_time() -> str:
        return (start + timedelta(seconds=rng.randrange(63_000_000))).strftime("%Y-%m-%d %H:%M:%S")

    def descriptor(n: int) -> tuple[str, str]:
        brand = rng.randrange(len(_BRANDS))
        return f"{_BRANDS[brand]} #{rng.randrange(500) if n % 50 else n}", _TICKERS[brand]

    def transaction(n: int) -> tuple[object, ...]:
        merchant, ticker = descriptor(n)
        amount, at = rng.randrange(100, 20_000) / 100, random_time()
        return (
            1 + n % _USERS,
            at,
            merchant,
            amount,
            "Shopping",
            "",
            1.0,
            1.0,
            round(amount + 1.25, 2),
            ticker,
            1.0,
            1.0,
            1.0,
            "completed",
            0.25,
            "bank",
            at,
        )

    def mapping(n: int) -> tuple[object, ...]:
        merchant, ticker = descriptor(n)
        at = random_time()
        return (
            1 + n % transactions,
            merchant,
            ticker,
            "Shopping",
            rng.randrange(7000, 10_000) / 10_000,
            "approved",
            1,
            1,
            f"{ticker} Inc.",
            str(1 + n % _USERS),
            at,
            "The name matches.",
            "v1.0",
            0,
            rng.randrange(3000),
            at,
        )

    with closing(sqlite3.connect(path)) as source:
        source.execute("PRAGMA journal_mode = WAL")
        source.execute("PRAGMA synchronous = OFF")
        source.executescript(SCHEMA)
        source.executemany(
            "INSERT INTO users (id, email, name, account_type, password) VALUES (?, ?, 'Customer', 'individual', ?)",
            ((n, f"user{n}@example.com", SCRYPT) for n in range(1, _USERS + 1)),
        )
        source.executemany(
            "INSERT INTO transactions (user_id, date, merchant, amount, category, description, investable, round_up, "
            "total_debit, ticker, shares, price_per_share, stock_price, status, fee, transaction_type, created_at) "
            f"VALUES ({', '.join('?' * 17)})",
            map(transaction, range(transactions)),
        )
        source.executemany(
            "INSERT INTO llm_mappings (transaction_id, merchant_name, ticker, category, confidence, status, "
            "admin_approved, ai_processed, company_name, user_id, created_at, ai_reasoning, ai_model_version, "
            "ai_auto_approved, "
            f"ai_processing_duration, ai_decision_timestamp) VALUES ({', '.join('?' * 16)})",
            map(mapping, range(mappings)),
        )
        source.commit()
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(path: Path) -> tuple[float, float]:
    """Return (seconds, peak MB) of our command into a newly migrated database."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "migrate_from_sqlite", "copy", str(path)],
        cwd=common.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    started = time.monotonic()
    peak = _peak_of(process)
    output, _ = process.communicate()
    if process.returncode or "rejected; see" in output:
        raise SystemExit(f"copy ended with {process.returncode}: {output}")
    return time.monotonic() - started, peak


def _pgloader(path: Path) -> float:
    """Return the seconds of pgloader into an empty database."""
    with closing(psycopg2.connect(common.url_of_database("postgres"))) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_TARGET} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {_TARGET}")
    url = urlsplit(common.url_of_database(_TARGET))
    host = parse_qs(url.query).get("host", [unquote(url.netloc.rpartition("@")[2].partition(":")[0]) or "localhost"])[0]
    address = f"unix:{host}:{url.port or 5432}" if host.startswith("/") else f"{host}:{url.port or 5432}"
    login = f"{url.username}:{url.password}" if url.password else str(url.username)
    started = time.monotonic()
    process = subprocess.run(
        ["pgloader", "--on-error-stop", f"sqlite://{path}", f"postgresql://{login}@{address}/{_TARGET}"],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if process.returncode or re.search(r"\b(ERROR|FATAL)\b", process.stdout):
        raise SystemExit(f"pgloader failed: {process.stdout[-3000:]}{process.stderr[-1000:]}")
    with closing(psycopg2.connect(common.url_of_database(_TARGET))) as loaded, loaded.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM llm_mappings) + (SELECT count(*) FROM transactions)")
        print(f"pgloader: {cursor.fetchone()[0]:,} rows in {seconds:.1f} s", flush=True)
    return seconds


_COLUMNS = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass
    AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid) ORDER BY indexrelid
"""
_CONSTRAINTS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = %s::regclass AND contype IN ('c', 'p', 'u') ORDER BY contype DESC, conname
"""


def _our_schema(cursor: Any, table: str) -> tuple[dict[str, str], list[str], list[tuple[str, str]]]:
    """Return types by column, index definitions, and (name, definition) of the constraints."""
    cursor.execute(_COLUMNS, [table])
    columns = dict(cursor.fetchall())
    cursor.execute(_INDEXES, [table])
    indexes = [re.sub(r" ON ONLY \S+ ", f" ON {table} ", row[0]) for row in cursor.fetchall()]
    cursor.execute(_CONSTRAINTS, [table])
    return columns, indexes, cursor.fetchall()


def _match_schema() -> float:
    """Give pgloader's two big tables the columns, indexes and constraints of ours; return the seconds."""
    seconds = 0.0
    with (
        closing(psycopg2.connect(os.environ["DATABASE_URL"])) as ours,
        closing(psycopg2.connect(common.url_of_database(_TARGET))) as loaded,
        ours.cursor() as our_cursor,
        loaded.cursor() as cursor,
    ):
        for table in _TABLES:
            columns, indexes, constraints = _our_schema(our_cursor, table)
            cursor.execute(_COLUMNS, [table])
            present = dict(cursor.fetchall())
            actions = ["DROP CONSTRAINT " + name for name in _primary_keys(cursor, table)]
            for name, column_type in columns.items():
                if name not in present:
                    actions.append(f"ADD COLUMN {name} {column_type} {_default_of(table, name)}")
                elif present[name] != column_type:
                    actions.append(f"ALTER COLUMN {name} DROP DEFAULT")
                    actions.append(f"ALTER COLUMN {name} TYPE {column_type} USING {name}::{column_type}")
            constraint_actions = [f"ADD CONSTRAINT {name} {definition}" for name, definition in constraints]
            statements = [f"ALTER TABLE {table} {', '.join(actions)}", *indexes]
            statements += [f"ALTER TABLE {table} {', '.join(constraint_actions)}", f"ANALYZE {table}"]
            started = time.monotonic()
            for statement in statements:
                cursor.execute(statement)
            loaded.commit()
            seconds += time.monotonic() - started
    return seconds


def _primary_keys(cursor: Any, table: str) -> list[str]:
    cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'p'", [table])
    return [row[0] for row in cursor.fetchall()]


def _default_of(table: str, column: str) -> str:
    """Return how a column that the legacy table lacks gets its values."""
    if column == "merchant_key":
        return f"GENERATED ALWAYS AS (upper({'merchant' if table == 'transactions' else 'merchant_name'})) STORED"
    defaults = {"source": "'legacy'", "failure_reason": "''", "priority": "9", "updated_at": "now()"}
    return f"DEFAULT {defaults[column]}" if column in defaults else ""


def _limit(folder: Path) -> float:
    """Return the seconds of `\\copy` of our rows of both tables into tables without indexes."""
    seconds = 0.0
    for table in _TABLES:
        ready = folder / f"{table}.tsv"
        if not ready.exists():
            common.run_psql(f"\\copy (SELECT * FROM {table}) TO '{ready}'")
        common.run_psql(f"DROP TABLE IF EXISTS bare_{table}; CREATE TABLE bare_{table} (LIKE {table})")
        seconds += common.run_psql(f"\\copy bare_{table} FROM '{ready}'")
        common.run_psql(f"DROP TABLE bare_{table}")
    return seconds


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mappings", type=int, default=1_000_000)
    parser.add_argument("--transactions", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = arguments.mappings + arguments.transactions
    has_pgloader = shutil.which("pgloader") is not None
    if not has_pgloader:
        print("pgloader is not installed (as root: apt-get install pgloader): only the limit is measured", flush=True)

    ours, peers, loaders, limits, peaks = [], [], [], [], []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "kamioi.db"
        write_legacy(path, mappings=arguments.mappings, transactions=arguments.transactions)
        for number in range(arguments.rounds):
            if number:
                os.environ["DATABASE_URL"] = common.url_of_database("postgres")
            common.fresh_database(_NAME)
            subprocess.run(
                [sys.executable, "manage.py", "import_companies"],
                cwd=common.ROOT,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            seconds, peak = _copy(path)
            ours.append(rows / seconds)
            peaks.append(peak)
            limits.append(rows / _limit(Path(directory)))
            if has_pgloader:
                loading = _pgloader(path)
                loaders.append(rows / loading)
                peers.append(rows / (loading + _match_schema()))
            print(
                f"round {number + 1}: {ours[-1]:,.0f} rows/s, peak {peak:.0f} MB, pgloader with the same schema "
                f"{peers[-1] if peers else 0:,.0f}, pgloader alone {loaders[-1] if loaders else 0:,.0f}, "
                f"bare \\copy {limits[-1]:,.0f}",
                flush=True,
            )
    common.drop_database(_TARGET)
    common.drop_database(_NAME)
    common.report(
        benchmark="migration",
        ours=round(statistics.median(ours)),
        peer=round(statistics.median(peers)) if peers else None,
        ratio=_ratio(ours, peers),
        unit="rows/s",
        peer_name="pgloader, then the same column types, indexes and constraints",
        rows=rows,
        loader=round(statistics.median(loaders)) if loaders else None,
        ratio_loader=_ratio(ours, loaders),
        loader_name="pgloader alone, primary keys only",
        limit=round(statistics.median(limits)),
        ratio_limit=_ratio(ours, limits),
        limit_name="psql \\copy of prepared rows, no indexes",
        peak_mb=round(max(peaks)),
        goal=3.0,
        reached=bool(peers) and (_ratio(ours, peers) or 0) >= 3,
    )


def _ratio(ours: list[float], others: list[float]) -> float | None:
    """Return the median of the rounds' ratios."""
    return round(statistics.median(o / p for o, p in zip(ours, others, strict=True)), 2) if others else None


if __name__ == "__main__":
    main()

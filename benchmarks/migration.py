"""A legacy SQLite file into PostgreSQL: `migrate_from_sqlite copy` beside Debian's pgloader and a bare `\\copy`.

`ours` is the whole command, start of Python included: every row judged by the rules, ids kept, merchants normalised,
monthly partitions with all their indexes, directory of merchants, opening balances in the ledger, checked constraints.
`peer` is `pgloader FILE postgresql://…` with its defaults on the same file and server: the same tables as they are, and
their primary keys. `limit` is psql's `\\copy` of our rows, ready-made as text, into one table without a single index.

The file is clean, the kindest case for a loader that does not judge. pgloader must be installed (`apt-get install pgloader`);
without it only the limit is measured.
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
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg2

from benchmarks import common
from benchmarks.ingest import _peak_of, _psql
from tests.legacy_db import SCHEMA, SCRYPT

_NAME = "kamioi_bench_migration"
_TARGET = "kamioi_bench_pgloader"
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
    """A clean legacy database of two years; about one descriptor in fifty is a new one."""
    chance = random.Random(7)
    start = datetime(2024, 11, 1, tzinfo=UTC)

    def when() -> str:
        return (start + timedelta(seconds=chance.randrange(63_000_000))).strftime("%Y-%m-%d %H:%M:%S")

    def descriptor(n: int) -> tuple[str, str]:
        brand = chance.randrange(len(_BRANDS))
        return f"{_BRANDS[brand]} #{chance.randrange(500) if n % 50 else n}", _TICKERS[brand]

    def transaction(n: int) -> tuple[object, ...]:
        merchant, ticker = descriptor(n)
        amount, at = chance.randrange(100, 20_000) / 100, when()
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
        at = when()
        return (
            1 + n % transactions,
            merchant,
            ticker,
            "Shopping",
            chance.randrange(7000, 10_000) / 10_000,
            "approved",
            1,
            1,
            f"{ticker} Inc.",
            str(1 + n % _USERS),
            at,
            "The name says so.",
            "v1.0",
            0,
            chance.randrange(3000),
            at,
        )

    with closing(sqlite3.connect(path)) as source:
        source.execute("PRAGMA journal_mode = WAL")
        source.execute("PRAGMA synchronous = OFF")
        source.executescript(SCHEMA)
        source.executemany(
            "INSERT INTO users (id, email, name, account_type, password) VALUES (?, ?, 'Somebody', 'individual', ?)",
            ((n, f"user{n}@example.com", SCRYPT) for n in range(1, _USERS + 1)),
        )
        source.executemany(
            "INSERT INTO transactions (user_id, date, merchant, amount, category, description, investable, round_up, "
            "total_debit, ticker, shares, price_per_share, stock_price, status, fee, transaction_type, created_at) "
            f"VALUES ({', '.join('?' * 17)})",
            map(transaction, range(transactions)),
        )
        source.executemany(
            "INSERT INTO llm_mappings (transaction_id, merchant_name, ticker, category, confidence, status, admin_approved, "
            "ai_processed, company_name, user_id, created_at, ai_reasoning, ai_model_version, ai_auto_approved, "
            f"ai_processing_duration, ai_decision_timestamp) VALUES ({', '.join('?' * 16)})",
            map(mapping, range(mappings)),
        )
        source.commit()
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy(path: Path) -> tuple[float, float]:
    """(seconds, peak MB) of our command into a database as `migrate` leaves it."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "migrate_from_sqlite", "copy", str(path)],
        cwd=common.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    started = time.monotonic()
    peak = _peak_of(process)
    said, _ = process.communicate()
    if process.returncode or "rejected; see" in said:
        raise SystemExit(f"copy ended with {process.returncode}: {said}")
    return time.monotonic() - started, peak


def _pgloader(path: Path) -> float:
    """Seconds of pgloader into an empty database."""
    with closing(psycopg2.connect(common.url_of_database("postgres"))) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {_TARGET} WITH (FORCE)")
            cursor.execute(f"CREATE DATABASE {_TARGET}")
    url = urlsplit(common.url_of_database(_TARGET))
    host = parse_qs(url.query).get("host", [unquote(url.netloc.rpartition("@")[2].partition(":")[0]) or "localhost"])[0]
    where = f"unix:{host}:{url.port or 5432}" if host.startswith("/") else f"{host}:{url.port or 5432}"
    login = f"{url.username}:{url.password}" if url.password else str(url.username)
    started = time.monotonic()
    done = subprocess.run(
        ["pgloader", "--on-error-stop", f"sqlite://{path}", f"postgresql://{login}@{where}/{_TARGET}"],
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode or re.search(r"\b(ERROR|FATAL)\b", done.stdout):
        raise SystemExit(f"pgloader failed: {done.stdout[-3000:]}{done.stderr[-1000:]}")
    with closing(psycopg2.connect(common.url_of_database(_TARGET))) as loaded, loaded.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM llm_mappings) + (SELECT count(*) FROM transactions)")
        print(f"pgloader: {cursor.fetchone()[0]:,} rows in {seconds:.1f} s", flush=True)
    return seconds


def _limit(folder: Path) -> float:
    """Seconds of `\\copy` of the rows that we made of both tables into tables without indexes."""
    seconds = 0.0
    for table in ("transactions", "llm_mappings"):
        ready = folder / f"{table}.tsv"
        if not ready.exists():
            _psql(f"\\copy (SELECT * FROM {table}) TO '{ready}'")
        _psql(f"DROP TABLE IF EXISTS bare_{table}; CREATE TABLE bare_{table} (LIKE {table})")
        seconds += _psql(f"\\copy bare_{table} FROM '{ready}'")
        _psql(f"DROP TABLE bare_{table}")
    return seconds


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mappings", type=int, default=1_000_000)
    parser.add_argument("--transactions", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows = arguments.mappings + arguments.transactions
    has_pgloader = shutil.which("pgloader") is not None

    ours, peers, limits, peaks = [], [], [], []
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
                peers.append(rows / _pgloader(path))
            print(
                f"round {number + 1}: {ours[-1]:,.0f} rows/s, peak {peak:.0f} MB, pgloader "
                f"{peers[-1] if peers else 0:,.0f}, bare \\copy {limits[-1]:,.0f}",
                flush=True,
            )
    common.drop_database(_TARGET)
    common.drop_database(_NAME)
    ratio = statistics.median(o / p for o, p in zip(ours, peers, strict=True)) if peers else None
    common.report(
        benchmark="migration",
        ours=round(statistics.median(ours)),
        peer=round(statistics.median(peers)) if peers else None,
        ratio=round(ratio, 2) if ratio else None,
        unit="rows/s",
        peer_name="pgloader",
        rows=rows,
        limit=round(statistics.median(limits)),
        ratio_limit=round(statistics.median(o / p for o, p in zip(ours, limits, strict=True)), 2),
        limit_name="psql \\copy of ready rows, no indexes",
        peak_mb=round(max(peaks)),
        goal=3.0,
        reached=bool(ratio and ratio >= 3),
    )


if __name__ == "__main__":
    main()

"""One million statement rows through `manage.py ingest_statement`, beside a bare `\\copy` of the same rows.

`ours` is the whole command, start of Python included: the file is stored, parsed and checked, merchants are normalised,
keys and transactions written. `peer` is psql's `\\copy` of what the import stored, all columns prepared, into the
same emptied table with the same indexes and partitions: no parsing, no keys, no check for duplicates. The two
alternate; `ratio` is the median of the rounds' ratios.

Memory is the peak resident size of the importing process (VmHWM), for a file of `--small` rows and for each large one.
"""

import argparse
import csv
import itertools
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks import common

_EMAIL = "user1@example.com"
_BRANDS, _STORES = 500, 200
_KINDS = ("COFFEE", "MARKET", "FUEL", "PHARMACY", "BOOKS", "DINER", "HARDWARE", "OUTFITTERS", "TOYS", "ELECTRONICS")
_CATEGORIES = ("Food & Dining", "Groceries", "Gas", "Health", "Shopping", "Home", "Entertainment")
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Import:
    """One run of the command."""

    rows_a_second: float
    peak_megabytes: float


def _write_statement(path: Path, *, rows: int) -> int:
    """Write a bank's CSV of one year, newest first; returns the number of distinct descriptors.

    A few merchants and stores have most of the purchases, and some descriptors are unique; amounts are negative, two
    in a hundred are refunds, some descriptors have a comma and are therefore quoted.
    """
    chance = random.Random(rows)
    lines = (common.ROOT / "transactions" / "data" / "us_cities.txt").read_text().splitlines()
    cities = [line.split("\t")[0] for line in lines if line.endswith("\tlarge")]
    prefixes = [first + second for first, second in itertools.product("BCDFGHJKLM", "AEIOU")]
    brands = [
        f"{prefixes[number % 50]}{prefixes[number // 10]}R {_KINDS[number % len(_KINDS)]}" for number in range(_BRANDS)
    ]
    newest, apart = datetime.now(UTC) - timedelta(days=1), timedelta(days=365) / rows
    seen = set()
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["Transaction Date", "Description", "Category", "Amount", "Reference Number"])
        for number in range(rows):
            brand, store = int(_BRANDS * chance.random() ** 2), int(_STORES * chance.random() ** 2)
            city = cities[(brand * 31 + store * 7) % len(cities)]
            comma = "," if brand % 7 == 0 else ""
            descriptor = f"{brands[brand]} #{store + 1000:05d} {city}{comma} TX"
            seen.add(descriptor)
            cents = chance.randrange(100, 20_000)
            sign = "" if chance.random() < 0.02 else "-"
            when = newest - apart * number
            out.writerow(
                [f"{when:%m/%d/%Y}", descriptor, _CATEGORIES[brand % 7], f"{sign}{cents / 100:.2f}", f"R{number:09d}"]
            )
    return len(seen)


def _peak_of(process: subprocess.Popen[str]) -> float:
    """Wait for the process and return its peak memory in MB, as the kernel records it."""
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.02)
    return peak * 1024 / _MEGABYTE


def _import(path: Path, *, rows: int) -> _Import:
    """Run the import into the emptied tables."""
    _empty()
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "ingest_statement", str(path), "--user", _EMAIL, "--yes"],
        cwd=common.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    peak = _peak_of(process)
    output, _ = process.communicate()
    seconds = time.monotonic() - started
    if process.returncode or f"{rows} added, 0 duplicates, 0 rejected" not in output:
        raise SystemExit(f"the import ended with {process.returncode}: {output}")
    return _Import(rows / seconds, peak)


def _copy(path: Path, *, rows: int) -> float:
    """Return the rows per second of `\\copy` of the stored rows, in the order of the file, into the emptied table."""
    if not path.exists():
        common.run_psql(f"\\copy (SELECT * FROM transactions ORDER BY id) TO '{path}'")
    _empty()
    return rows / common.run_psql(f"\\copy transactions FROM '{path}'")


def _empty() -> None:
    """Empty the tables; partitions that were created stay, for both sides."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE transactions, transaction_keys, statement_rejects, statement_fingerprints")
    common.settle()


def main() -> None:
    """Run the benchmark and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--small", type=int, default=100_000, help="rows of the file whose memory use is the baseline")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows: int = arguments.rows
    os.environ["PURCHASE_HISTORY_DAYS"] = "36500"  # the file is older than the account

    with tempfile.TemporaryDirectory() as directory:
        small, large, stored = (Path(directory) / name for name in ("small.csv", "large.csv", "stored.tsv"))
        _write_statement(small, rows=arguments.small)
        descriptors = _write_statement(large, rows=rows)
        # The command stores each file that it reads; it is deleted with the directory.
        os.environ["MEDIA_ROOT"] = directory
        common.fresh_database("kamioi_bench_ingest")
        common.seed_directory(users=10)
        small_peak = _import(small, rows=arguments.small).peak_megabytes
        print(f"{arguments.small:,} rows: peak {small_peak:.0f} MB", flush=True)
        ratios, ours, peers, peaks = [], [], [], []
        for number in range(arguments.rounds):
            imported = _import(large, rows=rows)
            peer = _copy(stored, rows=rows)
            ratios.append(imported.rows_a_second / peer)
            ours.append(imported.rows_a_second)
            peers.append(peer)
            peaks.append(imported.peak_megabytes)
            print(
                f"round {number + 1}: {ours[-1]:,.0f} rows/s, \\copy {peer:,.0f} rows/s, {ratios[-1]:.2f}x, "
                f"peak {peaks[-1]:.0f} MB",
                flush=True,
            )
    common.drop_database("kamioi_bench_ingest")
    ratio, peak = statistics.median(ratios), max(peaks)
    flat = peak < 1.25 * small_peak
    common.report(
        benchmark="ingest",
        ours=round(statistics.median(ours)),
        peer=round(statistics.median(peers)),
        ratio=round(ratio, 2),
        unit="rows/s",
        peer_name="psql \\copy of the stored rows",
        rows=rows,
        distinct_descriptors=descriptors,
        peak_mb=round(peak),
        peak_mb_small=round(small_peak),
        rows_small=arguments.small,
        memory_flat=flat,
        goal=0.4,
        goal_mb=300,
        reached=ratio >= 0.4 and peak < 300 and flat,
    )


if __name__ == "__main__":
    main()

"""What hostile uploads cost the web process and other customers.

One web process (gunicorn, a uvicorn worker) and two Celery processes serve a customer who reads a page of purchases and
one purchase ten times a second. Meanwhile another customer attacks:

- `rejects`: three JSON lists of three million numbers, 6 MB each;
- `workbooks`: five workbooks of a few kilobytes that describe a sheet of twelve million cells;
- `months`: a statement of 14 kB with a purchase in every month since 1990.

Memory is the peak of the web process and its children. `peer` is the customer's p95 without an attack, `ratio` the
largest p95 during one divided by it.
"""

import argparse
import http.client
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psutil

from benchmarks import common

Attack = Callable[["Client"], None]


class Client:
    """Sends requests with one customer's token and keeps the statuses of the answers."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token = port, token
        self.statuses: Counter[int] = Counter()

    def send(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> int:
        """Return the status, 0 when the server broke the connection off."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content_type}
        try:
            connection.request(method, path, body or None, headers)
            response = connection.getresponse()
            response.read()
            status = response.status
        except OSError:
            status = 0
        finally:
            connection.close()
        self.statuses[status] += 1
        return status

    def send_at_once(self, count: int, *arguments: Any) -> None:
        threads = [threading.Thread(target=self.send, args=arguments) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@dataclass
class Reading:
    """The customer's response times in seconds, and the memory of the web process in bytes."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    peak: int = 0

    def percentile(self, share: float) -> float:
        """Return a percentile in milliseconds."""
        ordered = sorted(self.seconds)
        return round(1000 * ordered[min(len(ordered) - 1, int(len(ordered) * share))], 1)


def attack_rejects(client: Client) -> None:
    """Send lists whose items are all invalid."""
    body = b"[" + b"1," * 2_999_999 + b"1]"
    client.send_at_once(3, "POST", "/api/transactions/bulk", body)


def attack_workbooks(client: Client) -> None:
    """Send small workbooks that unpack to large sheets."""
    boundary = "bench"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.xlsx"\r\n\r\n'
    body = head.encode() + _workbook(rows=30_000, last_column="OJ") + f"\r\n--{boundary}--\r\n".encode()
    client.send_at_once(5, "POST", "/api/user/upload-bank-file", body, f"multipart/form-data; boundary={boundary}")


def attack_months(client: Client) -> None:
    """Send a purchase in every month since 1990."""
    rows = [f"{year}-{month:02d}-15,SHOP {year},-5.00\n" for year in range(1990, 2026) for month in range(1, 13)]
    client.send("POST", "/api/transactions/bulk", ("Date,Description,Amount\n" + "".join(rows)).encode(), "text/csv")


ATTACKS: dict[str, Attack] = {"rejects": attack_rejects, "workbooks": attack_workbooks, "months": attack_months}


def _workbook(*, rows: int, last_column: str) -> bytes:
    """Return a workbook whose sheet has cells only in two corners."""
    office = "http://schemas.openxmlformats.org"
    main, kind = f"{office}/spreadsheetml/2006/main", f"{office}/officeDocument/2006/relationships"
    relations = f"{office}/package/2006/relationships"
    cells = f'<row r="1"><c r="A1"><v>1</v></c></row><row r="{rows}"><c r="{last_column}{rows}"><v>1</v></c></row>'
    parts = {
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{kind}"><sheets>'
        '<sheet name="A" sheetId="1" r:id="rId1"/></sheets></workbook>',
        "_rels/.rels": f'<Relationships xmlns="{relations}"><Relationship Id="rId1" Type="{kind}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{relations}"><Relationship Id="rId1" '
        f'Type="{kind}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, f'<?xml version="1.0"?>{content}')
    return file.getvalue()


def _start_web(port: int) -> subprocess.Popen[bytes]:
    options = f"-k uvicorn_worker.UvicornWorker -w 1 -b 127.0.0.1:{port} --log-level critical --timeout 300"
    web = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options.split(), "kamioi_site.asgi:application"],
        cwd=common.ROOT,
        env=os.environ | {"LOG_LEVEL": "CRITICAL"},
    )
    common.wait_for_web(web, port, path="/healthz", seconds=60)
    return web


def _memory(web: psutil.Process) -> int:
    total = 0
    for process in [web, *web.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _read_during(work: Callable[[], None], victim: Client, paths: list[str], web: psutil.Process) -> Reading:
    """Run `work` while the customer reads, and return what the customer and the machine saw."""
    reading, stop = Reading(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            for path in paths:
                begin = time.monotonic()
                reading.failed += victim.send("GET", path) != 200
                reading.seconds.append(time.monotonic() - begin)
            stop.wait(0.1)

    def sample() -> None:
        while not stop.is_set():
            reading.peak = max(reading.peak, _memory(web))
            stop.wait(0.02)

    threads = [threading.Thread(target=read), threading.Thread(target=sample)]
    for thread in threads:
        thread.start()
    try:
        work()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return reading


def _wait_for_tasks(seconds: float) -> None:
    from transactions.models import BackgroundTask

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and BackgroundTask.objects.filter(status__in=["queued", "running"]).exists():
        time.sleep(0.2)


def _stored() -> dict[str, int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT (SELECT count(*) FROM statement_rejects), pg_total_relation_size('statement_rejects') / 1000000,
                (SELECT count(*) FROM pg_inherits WHERE inhparent = 'transactions'::regclass)
            """
        )
        rejects, megabytes, partitions = cursor.fetchone()
    return {"rejects": rejects, "reject_mb": int(megabytes), "partitions": partitions}


def main() -> None:
    """Run the attacks and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8767)
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--wait", type=int, default=60, help="seconds for the workers after an attack")
    arguments = parser.parse_args()

    os.environ["API_RATE_AUTHENTICATED"] = "1000000/m"
    common.fresh_database("kamioi_bench_attacks")
    from transactions.models import ApiToken, User
    from transactions.services.ingest import create_transaction

    victim, attacker = (User.objects.create_user(f"{name}@example.com", "x") for name in ("victim", "attacker"))
    for number in range(100):
        purchase = create_transaction(user=victim, amount=Decimal(5), merchant=f"SHOP {number}")
    clients = [Client(arguments.port, ApiToken.issue(user=user)[1]) for user in (victim, attacker)]
    paths = ["/api/user/transactions?limit=50", f"/api/transactions/{purchase.transaction_id}"]
    worker = common.start_workers(queues="bulk,transactions")
    web = _start_web(arguments.port)
    figures: dict[str, Any] = {}
    worst = 0.0
    try:
        process = psutil.Process(web.pid)
        _read_during(lambda: time.sleep(2), clients[0], paths, process)  # the first requests import and connect
        quiet = _read_during(lambda: time.sleep(5), clients[0], paths, process)
        figures["quiet"] = {"p95_ms": quiet.percentile(0.95), "web_mb": quiet.peak // 1_000_000}
        for name in arguments.attacks:
            clients[1].statuses.clear()
            begin = time.monotonic()

            def work(attack: Attack = ATTACKS[name]) -> None:
                attack(clients[1])
                time.sleep(3)  # so that the smallest attack is read enough times

            reading = _read_during(work, clients[0], paths, process)
            seconds = time.monotonic() - begin - 3
            _wait_for_tasks(arguments.wait)
            figures[name] = {
                "answers": dict(clients[1].statuses),
                "seconds": round(seconds, 1),
                "p50_ms": reading.percentile(0.5),
                "p95_ms": reading.percentile(0.95),
                "max_ms": reading.percentile(1),
                "failed": reading.failed,
                "web_mb": reading.peak // 1_000_000,
                **_stored(),
            }
            print(f"{name}: {figures[name]}", flush=True)
            worst = max(worst, reading.percentile(0.95))
    finally:
        web.terminate()
        web.wait(60)
        worker.kill() if worker.poll() is None else None
        worker.wait(60)
        common.drop_database("kamioi_bench_attacks")
    peer = figures["quiet"]["p95_ms"]
    common.report(benchmark="attacks", value=worst, peer=peer, ratio=round(worst / peer, 2), **figures)


if __name__ == "__main__":
    main()

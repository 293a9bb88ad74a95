"""The time from POST to `completed` at 200 transactions a second over the API for a minute.

It uses the real web server (gunicorn, two uvicorn workers) and a real Celery worker. Customers with their own tokens
post one purchase per request at a steady rate. A poller checks every 25 ms which transactions are completed, so the
figures are up to 25 ms too large. `peer` is the limit of one second.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time

import psycopg2

from benchmarks import common


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _start_web(port: int) -> subprocess.Popen[bytes]:
    web = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "-k",
            "uvicorn_worker.UvicornWorker",
            "-w",
            "2",
            "-b",
            f"127.0.0.1:{port}",
            "--keep-alive",
            "75",
            "--log-level",
            "warning",
            "kamioi_site.asgi:application",
        ],
        cwd=common.ROOT,
        env=os.environ | {"LOG_LEVEL": "WARNING"},
    )
    common.wait_for_web(web, port, path="/healthz", seconds=15)
    return web


def _tokens(count: int) -> list[str]:
    from transactions.models import ApiToken, User

    return [ApiToken.issue(user=user)[1] for user in User.objects.order_by("id")[:count]]


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200, help="POSTs a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--clients", type=int, default=16)
    arguments = parser.parse_args()

    os.environ["API_RATE_AUTHENTICATED"] = "1000000/m"
    common.fresh_database("kamioi_bench_latency")
    common.seed_directory()
    tokens = _tokens(arguments.clients)
    worker = common.start_workers()
    web = _start_web(arguments.port)
    total = arguments.rate * arguments.seconds
    sent: dict[int, float] = {}
    post_seconds: list[float] = []
    failures: list[str] = []
    completed: dict[int, float] = {}
    stop = threading.Event()
    started = time.monotonic() + 1

    def post(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", arguments.port, timeout=30)
        headers = {"Authorization": f"Bearer {tokens[client]}", "Content-Type": "application/json"}
        for number in range(client, total, arguments.clients):
            time.sleep(max(0.0, started + number / arguments.rate - time.monotonic()))
            body = json.dumps({"merchant": f"M{1 + number % 200}", "amount": 4.5})
            begin = time.monotonic()
            connection.request("POST", "/api/transactions", body, headers)
            response = connection.getresponse()
            reply = json.loads(response.read())
            post_seconds.append(time.monotonic() - begin)
            if response.status == 201:
                sent[reply["transaction_id"]] = begin
            else:
                failures.append(f"{response.status} {reply}")

    def poll() -> None:
        database = psycopg2.connect(os.environ["DATABASE_URL"])
        database.autocommit = True
        with database.cursor() as cursor:
            while not stop.is_set():
                # Only what is still open, so that a poll costs the same after a minute as at the start.
                open_ids = [pk for pk in list(sent) if pk not in completed]
                cursor.execute("SELECT id FROM transactions WHERE id = ANY (%s) AND status = 'completed'", [open_ids])
                moment = time.monotonic()
                completed.update((pk, moment) for (pk,) in cursor.fetchall())
                time.sleep(0.025)
        database.close()

    poller = threading.Thread(target=poll)
    clients = [threading.Thread(target=post, args=(number,)) for number in range(arguments.clients)]
    try:
        for thread in [poller, *clients]:
            thread.start()
        for thread in clients:
            thread.join()
        achieved = total / (time.monotonic() - started)
        deadline = time.monotonic() + 30
        while len(completed) < len(sent) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        stop.set()
        poller.join()
        web.terminate()
        web.wait(30)
        common.stop_workers(worker)
    waits = [completed[pk] - begin for pk, begin in sent.items() if pk in completed]
    common.drop_database("kamioi_bench_latency")
    p95 = _percentile(waits, 0.95)
    print(failures[:3])
    common.report(
        benchmark="latency",
        ours=round(p95, 3),
        peer=1.0,
        ratio=round(p95, 3),
        unit="s, p95 from POST to completed",
        p50=round(_percentile(waits, 0.5), 3),
        p99=round(_percentile(waits, 0.99), 3),
        post_p95=round(_percentile(post_seconds, 0.95), 3),
        requests_a_second=round(achieved, 1),
        sent=len(sent),
        completed=len(waits),
        failed=len(failures),
        goal=1.0,
        reached=p95 < 1 and len(waits) == len(sent) == total,
    )


if __name__ == "__main__":
    main()

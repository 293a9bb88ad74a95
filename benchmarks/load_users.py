"""The locust users of `benchmarks.load`: readers, payers, banks that send statements, and watchers of a task.

`python -m benchmarks.load` runs this and passes its parameters in LOAD_PLAN. The day is compressed: an hour takes
`seconds / 24`, and the activity in it follows the curve.
"""

import itertools
import json
import math
import os
import random
import socket
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gevent
from locust import FastHttpUser, LoadTestShape, User, events, task

PLAN: dict[str, Any] = json.loads(os.environ["LOAD_PLAN"])
TOKENS: list[tuple[int, str, str]] = [tuple(row) for row in json.loads(Path(PLAN["tokens"]).read_text())]
# Card purchases by the hour of the day, mean 1.
CURVE = [
    float(share)
    for share in (
        "0.25 0.15 0.1 0.1 0.15 0.3 0.6 0.9 1.1 1.1 1.2 1.5 1.7 1.5 1.3 1.3 1.5 1.8 1.9 1.6 1.3 1.0 0.75 0.5"
    ).split()
]
PAYERS, BANKS = max(4, PLAN["users"] // 100), 4

_began = time.monotonic()
_next = itertools.count(random.randrange(1 << 40))
_turn = itertools.count()


def busy() -> float:
    """Return the activity at this moment of the day; the mean is 1."""
    hour = (time.monotonic() - _began) / PLAN["seconds"] * 24
    first = CURVE[int(hour) % 24]
    return first + (CURVE[int(hour + 1) % 24] - first) * (hour - math.floor(hour))


def _pace(a_second: float, users: int) -> float:
    """Return a random wait of one of `users` users that together act at this rate."""
    return min(random.expovariate(max(1e-6, a_second * busy() / users)), 60.0)


class Customer(FastHttpUser):
    """A customer with a token."""

    abstract = True
    insecure = True

    def on_start(self) -> None:
        """Choose the next customer."""
        self.user_id, self.token, self.task_id = TOKENS[next(_turn) % len(TOKENS)]
        self.client.auth_header = None
        self.headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "gzip"}
        self.seen: list[int] = []

    def read(self, path: str, name: str) -> Any:
        """Send a GET that is counted under this name."""
        return self.client.get(path, headers=self.headers, name=name)


class Reader(Customer):
    """Uses the app: lists, details, portfolio, messages, and the progress of an import."""

    weight = 8

    def on_start(self) -> None:
        """Start at a random moment: locust starts all users of a second at once."""
        super().on_start()
        gevent.sleep(random.uniform(0, 2))

    def wait_time(self) -> float:
        """Wait `think` seconds between two pages, less in busy hours."""
        return random.expovariate(busy() / PLAN["think"])

    @task(6)
    def newest(self) -> None:
        """Get the first page of transactions."""
        reply = self.read("/api/user/transactions?limit=50", "GET transactions")
        if reply.status_code == 200:
            page = reply.json()
            self.seen = [row["id"] for row in page["data"][:5]]
            self.cursor = page["next_cursor"]

    @task(2)
    def older(self) -> None:
        """Get the next page."""
        if cursor := getattr(self, "cursor", None):
            self.read(f"/api/user/transactions?limit=50&cursor={cursor}", "GET transactions, next page")

    @task(3)
    def one(self) -> None:
        """Get a transaction."""
        if self.seen:
            self.read(f"/api/transactions/{random.choice(self.seen)}", "GET transaction")

    @task(4)
    def portfolio(self) -> None:
        """Get the portfolio."""
        self.read("/api/user/portfolio", "GET portfolio")

    @task(1)
    def messages(self) -> None:
        """Get the notifications."""
        self.read("/api/user/notifications", "GET notifications")

    @task(2)
    def poll(self) -> None:
        """Get the progress of a task."""
        self.read(f"/api/tasks/{self.task_id}", "GET task")


class Payer(Customer):
    """Makes purchases, which arrive one at a time."""

    fixed_count = PAYERS

    def wait_time(self) -> float:
        """Wait so that all payers make their share of the transactions."""
        return _pace(PLAN["transactions"] * PLAN["by_api"] / PLAN["seconds"], PAYERS)

    @task
    def buy(self) -> None:
        """Post a purchase with a new idempotency key."""
        user_id, token, _ = random.choice(TOKENS)
        number = next(_next)
        self.client.post(
            "/api/transactions",
            name="POST purchase",
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": f"load-{user_id}-{number}"},
            json={"merchant": f"SHOP{chr(65 + number % 20)}", "amount": f"{3 + number % 90}.{number % 100:02d}"},
        )


class Bank(Customer):
    """Sends statements with many rows."""

    fixed_count = BANKS

    def wait_time(self) -> float:
        """Wait so that all banks send the rest of the transactions."""
        rows = PLAN["transactions"] * (1 - PLAN["by_api"]) / PLAN["seconds"]
        return _pace(rows / PLAN["statement_rows"], BANKS)

    @task
    def send(self) -> None:
        """Post a statement of one customer."""
        _, token, _ = random.choice(TOKENS)
        first = next(_next) * 1000
        day = time.strftime("%Y-%m-%d", time.gmtime())
        rows = (
            f"{day},SHOP{chr(65 + (first + n) % 20)},{3 + n % 90}.{n % 100:02d},{first + n}"
            for n in range(PLAN["statement_rows"])
        )
        self.client.post(
            "/api/transactions/bulk",
            name="POST statement",
            data=("date,merchant,debit,description\n" + "\n".join(rows)),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "text/csv",
                "Idempotency-Key": f"bulk-{first}",
            },
        )


class Watcher(User):
    """Keeps an event stream of a task open; the time to the first event is counted."""

    weight = 1

    def wait_time(self) -> float:
        """Wait before reopening a stream that has ended."""
        return 5.0

    @task
    def watch(self) -> None:
        """Open a stream, receive the first event, and keep it open."""
        _, token, task_id = TOKENS[next(_turn) % len(TOKENS)]
        host = urlsplit(self.host or "")
        began, error = time.perf_counter(), None
        stream = socket.create_connection((host.hostname or "", host.port or 80), timeout=30)
        try:
            stream.sendall(
                (
                    f"GET /api/tasks/{task_id}/events HTTP/1.1\r\nHost: localhost\r\n"
                    f"Authorization: Bearer {token}\r\n\r\n"
                ).encode()
            )
            received = b""
            while b"data:" not in received:
                part = stream.recv(4096)
                if not part or not received + part:
                    raise OSError(f"the stream ended: {received[:60]!r}")
                received += part
        except OSError as failed:
            error = failed
        events.request.fire(
            request_type="GET",
            name="event stream, first event",
            response_time=(time.perf_counter() - began) * 1000,
            response_length=0,
            exception=error,
            context={},
        )
        if error is None:
            stream.settimeout(None)
            while stream.recv(4096):
                gevent.sleep(0)
        stream.close()


class Day(LoadTestShape):
    """All users start in the first tenth of the time; their activity follows the curve of the day."""

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users and how many start per second; None at the end."""
        if self.get_run_time() > PLAN["seconds"]:
            return None
        return PLAN["users"], max(1.0, PLAN["users"] / max(2.0, PLAN["seconds"] / 10))

"""The people of `benchmarks.load`, for locust: who reads, who pays, which banks send statements, who watches a task.

Run by `python -m benchmarks.load`, which passes what there is to know in LOAD_PLAN. The day is compressed: what happens in
an hour of it happens in `seconds / 24`, and as often as its curve says.
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
    0.25,
    0.15,
    0.1,
    0.1,
    0.15,
    0.3,
    0.6,
    0.9,
    1.1,
    1.1,
    1.2,
    1.5,
    1.7,
    1.5,
    1.3,
    1.3,
    1.5,
    1.8,
    1.9,
    1.6,
    1.3,
    1.0,
    0.75,
    0.5,
]
PAYERS, BANKS = max(4, PLAN["users"] // 100), 4

_began = time.monotonic()
_next = itertools.count(random.randrange(1 << 40))
_turn = itertools.count()


def busy() -> float:
    """How busy this moment of the day is; 1 on the average."""
    hour = (time.monotonic() - _began) / PLAN["seconds"] * 24
    first = CURVE[int(hour) % 24]
    return first + (CURVE[int(hour + 1) % 24] - first) * (hour - math.floor(hour))


def _pace(a_second: float, users: int) -> float:
    """Seconds until one of so many users acts again, when all of them act so often; never evenly."""
    return min(random.expovariate(max(1e-6, a_second * busy() / users)), 60.0)


class Customer(FastHttpUser):
    """Somebody with a token of their own."""

    abstract = True
    insecure = True

    def on_start(self) -> None:
        """Take the next customer."""
        self.user_id, self.token, self.task_id = TOKENS[next(_turn) % len(TOKENS)]
        self.client.auth_header = None
        self.headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "gzip"}
        self.seen: list[int] = []

    def read(self, path: str, name: str) -> Any:
        """GET, counted under the name."""
        return self.client.get(path, headers=self.headers, name=name)


class Reader(Customer):
    """Opens the app: lists, details, the portfolio, messages, and how far an import is."""

    weight = 8

    def on_start(self) -> None:
        """Come at a moment of their own: locust starts everybody of a second at once."""
        super().on_start()
        gevent.sleep(random.uniform(0, 2))

    def wait_time(self) -> float:
        """`think` seconds between two pages, shorter where the day is busy."""
        return random.expovariate(busy() / PLAN["think"])

    @task(6)
    def newest(self) -> None:
        """The first page of transactions."""
        reply = self.read("/api/user/transactions?limit=50", "GET transactions")
        if reply.status_code == 200:
            page = reply.json()
            self.seen = [row["id"] for row in page["data"][:5]]
            self.cursor = page["next_cursor"]

    @task(2)
    def older(self) -> None:
        """The next page."""
        if cursor := getattr(self, "cursor", None):
            self.read(f"/api/user/transactions?limit=50&cursor={cursor}", "GET transactions, next page")

    @task(3)
    def one(self) -> None:
        """A transaction."""
        if self.seen:
            self.read(f"/api/transactions/{random.choice(self.seen)}", "GET transaction")

    @task(4)
    def portfolio(self) -> None:
        """What they own."""
        self.read("/api/user/portfolio", "GET portfolio")

    @task(1)
    def messages(self) -> None:
        """Messages."""
        self.read("/api/user/notifications", "GET notifications")

    @task(2)
    def poll(self) -> None:
        """How far a task is."""
        self.read(f"/api/tasks/{self.task_id}", "GET task")


class Payer(Customer):
    """Buys something; the card network tells us one purchase at a time."""

    fixed_count = PAYERS

    def wait_time(self) -> float:
        """So that all of them make their share of the day's transactions."""
        return _pace(PLAN["transactions"] * PLAN["by_api"] / PLAN["seconds"], PAYERS)

    @task
    def buy(self) -> None:
        """A purchase with a key of its own."""
        user_id, token, _ = random.choice(TOKENS)
        number = next(_next)
        self.client.post(
            "/api/transactions",
            name="POST purchase",
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": f"load-{user_id}-{number}"},
            json={"merchant": f"SHOP{chr(65 + number % 20)}", "amount": f"{3 + number % 90}.{number % 100:02d}"},
        )


class Bank(Customer):
    """Sends statements of many rows."""

    fixed_count = BANKS

    def wait_time(self) -> float:
        """So that all of them send what is not bought one by one."""
        rows = PLAN["transactions"] * (1 - PLAN["by_api"]) / PLAN["seconds"]
        return _pace(rows / PLAN["statement_rows"], BANKS)

    @task
    def send(self) -> None:
        """A statement of one customer."""
        _user, token, _ = random.choice(TOKENS)
        first = next(_next) * 1000
        day = time.strftime("%Y-%m-%d", time.gmtime())
        rows = (
            f"{day},SHOP{chr(65 + (first + n) % 20)},{3 + n % 90}.{n % 100:02d},{first + n}"
            for n in range(PLAN["statement_rows"])
        )
        self.client.post(
            "/api/transactions/bulk",
            name="POST statement",
            data=("date,merchant,amount,description\n" + "\n".join(rows)),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "text/csv",
                "Idempotency-Key": f"bulk-{first}",
            },
        )


class Watcher(User):
    """Keeps an event stream of a task open. Counted is the time to the first event."""

    weight = 1

    def wait_time(self) -> float:
        """Before it opens another one, when the first has ended."""
        return 5.0

    @task
    def watch(self) -> None:
        """Open, hear the first event, and stay."""
        _, token, task_id = TOKENS[next(_turn) % len(TOKENS)]
        host = urlsplit(self.host or "")
        began, error = time.perf_counter(), None
        stream = socket.create_connection((host.hostname or "", host.port or 80), timeout=30)
        try:
            stream.sendall(
                f"GET /api/tasks/{task_id}/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            )
            heard = b""
            while b"data:" not in heard:
                part = stream.recv(4096)
                if not part or not heard + part:
                    raise OSError(f"the stream ended: {heard[:60]!r}")
                heard += part
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
    """Everybody comes in the first tenth of the time and stays; how often they act follows the day's curve."""

    def tick(self) -> tuple[int, float] | None:
        """Users, and how many come a second; None at the end."""
        if self.get_run_time() > PLAN["seconds"]:
            return None
        return PLAN["users"], max(1.0, PLAN["users"] / max(2.0, PLAN["seconds"] / 10))

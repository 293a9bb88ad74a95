"""Send GETs and purchases through nginx until a file appears, and print what failed.

Usage: load.py PORT CERTIFICATE TOKEN DIRECTORY. 40 requests a second, every fifth a POST; one that fails is repeated
with its Idempotency-Key until it is answered or refused. DIRECTORY/stop ends it. DIRECTORY/accepted gets a line for
each purchase (key, when it was sent first, when it was answered), DIRECTORY/failures one for each failed request.
Printed: requests, failed GETs, failed POSTs, the longest answer, the time from the first to the last failure (seconds).
"""

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

HOST, CLIENTS, PERIOD = "kamioi.example", 16, 0.4  # seconds between two requests of a client

port, certificate, token, directory = sys.argv[1:5]
tls = ssl.create_default_context(cafile=certificate)
lock = threading.Lock()
answers: list[float] = []
failures: list[tuple[float, str, str]] = []
accepted: list[tuple[str, float, float]] = []


class Connection(http.client.HTTPSConnection):
    """Connect to nginx on this machine, whatever the host name."""

    def connect(self) -> None:
        """Connect with TLS."""
        self.sock = tls.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), 60), server_hostname=HOST)


def until_stopped(client: int) -> None:
    """Send one request after the other over one connection."""
    connection, turn = Connection(HOST), 0
    waiting: tuple[str, float] | None = None  # a purchase without an answer
    while waiting or not Path(directory, "stop").exists():
        turn, started = turn + 1, time.time()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        method, path, body = "GET", "/api/user/transactions?limit=5", None
        if waiting or turn % 5 == 0:
            waiting = waiting or (f"load-{client}-{turn}-{started}", started)
            method, path, body = "POST", "/api/transactions", json.dumps({"amount": 4.5, "merchant": "STARBUCKS #9"})
            headers["Idempotency-Key"] = waiting[0]
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            response.read()
            result = str(response.status)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            result = type(error).__name__
        ended = time.time()
        with lock:
            answers.append(ended - started)
            if result not in {"200", "201"}:
                failures.append((started, method, result))
            elif waiting:
                accepted.append((*waiting, ended))
        if result in {"200", "201"} or result.startswith("4"):
            waiting = None
        time.sleep(max(0.05, PERIOD - (ended - started)))


threads = [threading.Thread(target=until_stopped, args=(client,)) for client in range(CLIENTS)]
for thread in threads:
    thread.start()
    time.sleep(PERIOD / CLIENTS)
for thread in threads:
    thread.join()
failures.sort()
for name, rows in (("accepted", accepted), ("failures", failures)):
    Path(directory, name).write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
gets, posts = (sum(method == each for _, method, _ in failures) for each in ("GET", "POST"))
print(len(answers), gets, posts, f"{max(answers):.1f}", f"{failures[-1][0] - failures[0][0] if failures else 0:.1f}")

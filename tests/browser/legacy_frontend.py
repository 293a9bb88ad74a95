"""Walk the legacy front end, which is not part of this repository, through all its pages in Chromium.

    python -m tests.browser.legacy_frontend --dist frontend/dist --base http://127.0.0.1:8000 \
        --role individual --email maya@kamioi.example --password … --out pages

The build must have been made with VITE_API_BASE_URL=http://legacy.localhost: Chromium maps that name to a small server
of this process, which serves the build, passes /api/ on to `--base` and records each call. The result is a table of the
pages, a screenshot and the text of each, and `calls.json`.

A page is *broken* if it is blank, shows an error or a script failed; *degraded* if a call failed that is not documented
to fail, if it shows a value like NaN, or another figure than the API; *not served* if all that is because of calls that
are documented to fail; otherwise it *works*.
"""

import argparse
import http.client
import json
import random
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

from playwright.sync_api import Dialog, Error, Page, sync_playwright

from tests.legacy_pages import documented

ORIGIN: Final = "http://legacy.localhost"
PASSED_ON: Final = ("/api/", "/account/", "/static/")
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
AREAS: Final = {"individual": "user", "family": "family", "business": "business", "admin": "admin"}
# Headers of one hop; the API is asked for an uncompressed reply, and for a whole one.
DROPPED: Final = {
    *("host", "connection", "accept-encoding", "content-length", "origin", "referer", "if-none-match"),
    *("transfer-encoding", "content-encoding", "content-security-policy"),
}
_AI: Final = "AI Recommendations, Mapping History, Rewards, Leaderboard, AI Performance"
# Role → page, as in the sidebar → its tabs.
PAGES: Final[dict[str, dict[str, str]]] = {
    "individual": {
        "Dashboard": "",
        "Transactions": "",
        "Portfolio": "",
        "Goals": "",
        "AI Insights": _AI,
        "Analytics": "Overview, Stock Holdings, Transaction History, Performance",
        "Notifications": "",
        "Settings": "",
        "Cross-Dashboard Chat": "",
    },
    "family": {
        "Family Dashboard": "",
        "Family Transactions": "",
        "Family Members": "",
        "Shared Portfolio": "",
        "Family Goals": "",
        "AI Insights": _AI,
        "Notifications": "",
        "Family Settings": "Family Profile, Notifications, Bank Connection, Statements, Subscription, Security, "
        "Appearance",
        "Cross-Dashboard Chat": "",
    },
    "business": {
        "Overview": "",
        "Transactions": "",
        "Team": "",
        "Business Goals": "",
        "AI Insights": f"{_AI}, Receipt Mappings",
        "Analytics": "Spending Analytics, Investment Insights, AI Insights",
        "Reports": "",
        "Settings": "General, Account, Bank Connection, Subscription, Security, Notifications, Data Management",
        "Notifications": "",
        "Cross-Dashboard Chat": "",
    },
    "admin": {
        "Platform Overview": "",
        "Transactions": "",
        "Subscriptions": "Overview, Plans, Users, Analytics, Cancellations, Promo Codes",
        "Demo Requests": "",
        "Investment Summary": "",
        "Investment Processing": "Dashboard, Mapped, Processing, Completed, Failed",
        "LLM Center": "Flow, Search, Summary, Pending Mappings, Rejected Mappings, Approved Mappings, "
        "Receipt Mappings, Analytics, LLM Data Assets",
        "ML Dashboard": "",
        "LLM Data Management": "Overview, RAG Search, Vector Embeddings, Feature Store",
        "Database Management": "",
        "User Management": "",
        "Financial Analytics": "Executive Dashboard, Profit & Loss, Balance Sheet, Cash Flow, General Ledger, "
        "Transaction Management, Journal Entries, Bank Reconciliation, Advanced Analytics, Reports & Export, Settings",
        "Notifications & Messaging": "Notifications, Messaging Center, Composer, Campaigns, Templates, Journeys, "
        "Delivery Logs, Compliance",
        "Content Management": "Blog Posts, Frontend Content, SEO Settings, Google Analytics",
        "Advertisement": "",
        "Badges": "",
        "Employee Management": "",
        "System Settings": "System, Business",
        "Standard Operating Procedures": "",
        "Loading Report": "",
        "API Tracking": "",
        "Error Tracking": "",
    },
    "public": dict.fromkeys(
        "/ /business-registration /signup /register /admin-login /reset-password /terms-of-service /privacy-policy "
        "/blog /features /how-it-works /learn /pricing /subscription/success /subscription/cancel".split(),
        "",
    ),
}
# Role and page → label of a figure → endpoint and how to read the figure there.
FIGURES: Final[dict[tuple[str, str], dict[str, tuple[str, Callable[[Any], float]]]]] = {
    ("individual", "Dashboard"): {
        "Portfolio Value": ("user/portfolio", lambda reply: reply["data"]["total_value"]),
        "Active Investments": ("user/portfolio", lambda reply: len(reply["data"]["holdings"])),
    },
    ("family", "Family Dashboard"): {
        "Family Portfolio Value": ("family/portfolio", lambda reply: reply["data"]["total_value"])
    },
    ("business", "Overview"): {"Portfolio Value": ("business/portfolio", lambda reply: reply["data"]["total_value"])},
    ("admin", "Transactions"): {
        "Total Transactions": ("admin/transactions?page=1", lambda reply: reply["stats"]["totalTransactions"])
    },
    ("admin", "User Management"): {"Total Users": ("admin/users?limit=500", lambda reply: len(reply["users"]))},
}
# Visible texts that report an error, and values computed from a missing figure.
SEEN: Final = r"""() => {
  const wrong = /\b(failed to|unable to|could not|went wrong|not found|(api|http) error|error loading)|^error:?$/i;
  const odd = /\bNaN\b|\bundefined\b|Invalid Date|Jan 1, 1970|\[object Object\]/;
  const found = {errors: new Set(), odd: new Set()};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.nodeValue.trim(), element = walker.currentNode.parentElement;
    if (!text || text.length > 200 || !element?.checkVisibility() || element.closest("aside")) continue;
    if (wrong.test(text)) found.errors.add(text);
    if (odd.test(text)) found.odd.add((element.parentElement ?? element).innerText.replace(/\s+/g, " ").slice(0, 120));
  }
  return {errors: [...found.errors], odd: [...found.odd]};
}"""


@dataclass
class Recorder:
    """The calls that were passed on, and when."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    pending: int = 0
    last: float = 0.0

    def add(self, method: str, target: str, sent: bytes, status: int, body: bytes) -> None:
        url = urlsplit(target)
        self.calls.append(
            {
                "method": method,
                "path": "/".join("{}" if re.search(r"^\W?\w?\d", part) else part for part in url.path.split("/")),
                "query": sorted(parse_qs(url.query, keep_blank_values=True)),
                "body": _keys(sent),
                "status": status,
                "reply": _keys(body),
            }
        )


def _keys(text: bytes) -> list[str]:
    try:
        value = json.loads(text or b"null")
    except ValueError:
        return []
    return sorted(value) if isinstance(value, dict) else []


class Handler(BaseHTTPRequestHandler):
    """Serves the build, and passes calls on. The API sees one random address, so no limits are shared."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *args: Any, base: str, dist: Path, recorder: Recorder, address: str) -> None:
        self.base, self.dist, self.recorder, self.address = urlsplit(base), dist, recorder, address
        super().__init__(*args)

    def log_message(self, *_: Any) -> None:
        """Write nothing."""

    def handle_any(self) -> None:
        """Answer."""
        if not self.path.startswith(PASSED_ON):
            path = (self.dist / urlsplit(self.path).path.lstrip("/")).resolve()
            if not path.is_file() or self.dist not in path.parents:
                path = self.dist / "index.html"
            self._reply(200, [("Content-Type", TYPES.get(path.suffix, "application/octet-stream"))], path.read_bytes())
            return
        self.recorder.pending += 1
        try:
            self._pass_on()
        finally:
            self.recorder.pending -= 1
            self.recorder.last = time.monotonic()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any  # noqa: N815

    def _pass_on(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in DROPPED}
        connection = http.client.HTTPConnection(self.base.hostname or "", self.base.port or 80, timeout=60)
        try:
            connection.request(self.command, self.path, sent, headers | {"X-Forwarded-For": self.address})
            response = connection.getresponse()
            status, body, found = response.status, response.read(), response.getheaders()
        except OSError as error:
            status, body, found = 502, str(error).encode(), []
        finally:
            connection.close()
        self.recorder.add(self.command, self.path, sent, status, body)
        self._reply(status, [(name, value) for name, value in found if name.lower() not in DROPPED], body)

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        with suppress(ConnectionError):  # the page did not wait for it
            self.end_headers()
            self.wfile.write(body)


class Walk:
    """A walk of one role through its pages."""

    def __init__(self, page: Page, recorder: Recorder, options: argparse.Namespace) -> None:
        self.page, self.recorder, self.role, self.out = page, recorder, options.role, options.out
        self.api = f"{options.base.rstrip('/')}/api"
        self.expected = documented("Not served: 404") | documented("Not done: 501")
        self.alerts: list[str] = []
        self.rows: list[dict[str, Any]] = []
        page.on("pageerror", lambda error: self.alerts.append(f"uncaught: {error}"[:300]))
        page.on("dialog", self._answer)

    def _answer(self, dialog: Dialog) -> None:
        self.alerts.append(dialog.message[:300])
        dialog.accept() if dialog.type == "alert" else dialog.dismiss()

    def settle(self) -> None:
        """Wait until no call is under way and none came for a while."""
        start = time.monotonic()
        while time.monotonic() - start < 12:
            self.page.wait_for_timeout(150)
            if not self.recorder.pending and time.monotonic() - max(self.recorder.last, start) > 0.8:
                return

    def visit(self, name: str, go: Callable[[], object]) -> None:
        """Go somewhere, and note what happened."""
        first = len(self.recorder.calls)
        self.alerts.clear()
        try:
            go()
            self.settle()
        except Error as error:
            self.alerts.append(str(error).splitlines()[0])
        text = self._text()
        seen = self.page.evaluate(SEEN)
        file = f"{len(self.rows):02d}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'home'}"
        self.page.screenshot(path=self.out / f"{file}.png")
        (self.out / f"{file}.txt").write_text(text)
        calls = self.recorder.calls[first:]
        failed = [call for call in calls if call["status"] >= 400]
        surprising = [call for call in failed if (call["method"], call["path"]) not in self.expected]
        errors = [*self.alerts, *seen["errors"], *([] if text.strip() else ["blank"])]
        odd = [*seen["odd"], *self._wrong_figures(name, text)]
        verdict = "broken" if errors else "degraded" if surprising or odd else "works"
        self.rows.append(
            {
                "page": name,
                "verdict": "not served" if verdict != "works" and failed and not surprising else verdict,
                "failed": sorted({f"{call['method']} {call['path']} → {call['status']}" for call in failed}),
                "shown": [*errors, *odd],
                "calls": calls,
            }
        )

    def _text(self) -> str:
        """Return the text of the page, as soon as there is any."""
        for _ in range(20):
            text: str = self.page.evaluate("(document.querySelector('main') ?? document.body).innerText")
            if len(text.strip()) > 40:
                break
            self.page.wait_for_timeout(250)
        return text

    def _wrong_figures(self, name: str, text: str) -> list[str]:
        lines = [line for line in text.splitlines() if line.strip()]
        wrong = []
        for label, (path, read) in FIGURES.get((self.role, name), {}).items():
            shown = lines[lines.index(label) + 1] if label in lines[:-1] else "nothing"
            token = self.page.evaluate(
                "role => localStorage.getItem(role === 'admin' ? 'kamioi_admin_token' : 'kamioi_user_token')", self.role
            )
            request = Request(f"{self.api}/{path}", headers={"Authorization": f"Bearer {token}"})
            with urlopen(request) as reply:
                figure = float(read(json.load(reply)))
            number = re.sub(r"[^\d.-]", "", shown)
            if not number or abs(float(number) - figure) >= 1:
                wrong.append(f"{label}: {shown}, in the API {figure:,.2f}")
        return wrong

    def sign_in(self, email: str, password: str) -> None:
        """Log in by the form; the dashboards are filled after a reload only."""
        page = self.page
        page.goto(f"{ORIGIN}/{'admin-login' if self.role == 'admin' else 'signup'}")
        if self.role != "admin":
            page.get_by_role("button", name="Sign In", exact=True).first.click()
        page.locator("input[type=email]").first.fill(email)
        page.locator("input[type=password]").first.fill(password)
        page.locator("button[type=submit]").first.click()
        page.wait_for_url(re.compile(r"/(dashboard|family|business|admin)/\w+"))
        self.settle()
        page.reload()
        page.locator("aside button").first.wait_for()

    def visit_all(self) -> None:
        """Visit the pages of the role, and their tabs."""
        for label, tabs in PAGES[self.role].items():
            if self.role == "public":
                self.visit(label, partial(self.page.goto, ORIGIN + label))
                continue
            entry = re.compile(rf"^\s*{re.escape(label)}\s*\d*\s*$")
            self.visit(label, self.page.locator("aside button", has_text=entry).first.click)
            for tab in filter(None, tabs.split(", ")):
                self.visit(f"{label} / {tab}", partial(self._open_tab, tab))

    def _open_tab(self, tab: str) -> None:
        buttons = self.page.locator("main").locator("button")
        exact = buttons.filter(has_text=re.compile(rf"^\s*{re.escape(tab)}\s*$"))
        (exact if exact.count() else buttons.filter(has_text=tab)).first.click()

    def report(self) -> None:
        """Print the table and write the calls."""
        (self.out / "calls.json").write_text(json.dumps(self.rows, indent=1))
        print("| page | verdict | calls failed | shown |\n|---|---|---|---|")
        for row in self.rows:
            shown = "<br>".join(text.replace("|", "/").replace("\n", " ") for text in row["shown"])
            print(f"| {row['page']} | {row['verdict']} | {'<br>'.join(row['failed'])} | {shown} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Walk the legacy front end through its pages.")
    parser.add_argument("--dist", type=Path, required=True, help=f"the build, made with VITE_API_BASE_URL={ORIGIN}")
    parser.add_argument("--base", default="http://127.0.0.1:8000", help="Kamioi")
    parser.add_argument("--role", choices=list(PAGES), required=True)
    parser.add_argument("--email", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--out", type=Path, required=True, help="directory for screenshots, texts and calls.json")
    return parser.parse_args()


def main() -> int:
    """Walk. Returns 1 if a page is broken."""
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    recorder, address = Recorder(), f"10.{random.randrange(256)}.{random.randrange(256)}.7"
    handler = partial(Handler, base=options.base, dist=options.dist.resolve(), recorder=recorder, address=address)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rules = f"MAP legacy.localhost:80 127.0.0.1:{server.server_port}, MAP * ~NOTFOUND"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("chromium-browser"),
            args=["--no-sandbox", f"--host-resolver-rules={rules}"],
        )
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        page.set_default_timeout(15_000)
        walk = Walk(page, recorder, options)
        if options.role != "public":
            walk.visit("(sign in)", partial(walk.sign_in, options.email, options.password))
        walk.visit_all()
        browser.close()
    server.shutdown()
    walk.report()
    return int(any(row["verdict"] == "broken" for row in walk.rows))


if __name__ == "__main__":
    sys.exit(main())

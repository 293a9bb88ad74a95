"""A browser (Debian's Chromium), pages that fail on any error, and the accessibility check."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connections
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.factories import PASSWORD

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# With CI=true the tests fail instead of being skipped.
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="no Chromium; as root: apt-get install chromium"
)


@pytest.fixture
def browser(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Run Debian's Chromium, headless.

    Playwright runs its event loop in this thread, so Django treats code that runs meanwhile as asynchronous and gives
    it another connection. The browser therefore runs only between the set-up and the tear-down of the database.
    """
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
        connections.close_all()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page; script errors, failed requests and violations of the Content Security Policy fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    problems: list[str] = []
    page.problems = problems  # type: ignore[attr-defined]  # a test that provokes one clears it
    page.on("pageerror", lambda error: problems.append(f"{error}\n{error.stack}"))
    # A new network interface on this machine, as of a container, ends requests: they explain what failed after them.
    unanswered: list[str] = []
    page.on("requestfailed", lambda request: unanswered.append(f"{request.failure} {request.url}"))
    page.on("response", lambda reply: problems.append(f"{reply.status} {reply.url}") if reply.status >= 400 else None)
    page.on(
        "console",
        lambda line: problems.append(f"{page.url}: {line.text}") if "Content Security Policy" in line.text else None,
    )
    yield page
    context.close()
    assert not problems, "\n".join([*problems, "Without an answer:", *unanswered])


def check_page(page: Page, name: str) -> None:
    """Check accessibility (WCAG 2.1 AA, by axe); take a screenshot if `KAMIOI_SCREENSHOTS` is set."""
    result = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response
    assert len(result["passes"]) > 10
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in result["violations"]] == []
    if folder := os.environ.get("KAMIOI_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png")


def log_in(page: Page, address: str, email: str) -> None:
    page.goto(f"{address}/admin/")
    page.fill("[name=username]", email)
    page.fill("[name=password]", PASSWORD)
    follow(page, page.locator("button[type=submit]"))
    expect(page.get_by_role("heading", name="Awaiting review")).to_be_visible()


def open_menu(page: Page, section: str, entry: str) -> None:
    """Follow an entry of the sidebar, opening its section first."""
    details = page.locator("#nav-sidebar-apps details").filter(has=page.locator("summary", has_text=section))
    link = details.get_by_role("link", name=entry)
    if not link.is_visible():
        details.locator("summary").click()
    follow(page, link)


def follow(page: Page, link: Locator) -> None:
    """Click a link and wait until the next page has loaded: before, its scripts do not handle a click."""
    with page.expect_navigation():
        link.click()

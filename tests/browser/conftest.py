"""Debian's Chromium, pages that tolerate no error, and what every look at a page checks."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.db import connections
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.factories import PASSWORD

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# With CI=true the tests never skip: without a browser they fail.
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true", reason="no Chromium; as root: apt-get install chromium"
)


@pytest.fixture
def browser(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Debian's Chromium, headless.

    Playwright's loop runs in this thread, so Django takes what is done meanwhile for asynchronous and gives it another
    connection. It is therefore up only between the set-up and the tear-down of the database.
    """
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()
        connections.close_all()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that tolerates no error in a script, no failed request, and nothing that the Content Security Policy refuses."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(30_000)
    problems: list[str] = []
    page.problems = problems  # type: ignore[attr-defined]  # a test that provokes one clears it
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("response", lambda reply: problems.append(f"{reply.status} {reply.url}") if reply.status >= 400 else None)
    page.on(
        "console",
        lambda said: problems.append(f"{page.url}: {said.text}") if "Content Security Policy" in said.text else None,
    )
    yield page
    context.close()
    assert problems == []


def look(page: Page, name: str) -> None:
    """Accessible by the rules of WCAG 2.1 AA that a program can check; and a picture where one is wanted."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}).response
    assert len(found["passes"]) > 10
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found["violations"]] == []
    if place := os.environ.get("KAMIOI_SCREENSHOTS"):
        page.screenshot(path=Path(place) / f"{name}.png")


def log_in(page: Page, address: str, email: str) -> None:
    page.goto(f"{address}/admin/")
    page.fill("[name=username]", email)
    page.fill("[name=password]", PASSWORD)
    page.click("button[type=submit]")
    expect(page.get_by_role("heading", name="Waiting for a reviewer")).to_be_visible()

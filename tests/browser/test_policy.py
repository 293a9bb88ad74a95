"""Every page of the admin in a real browser complies with the Content Security Policy."""

import pytest
from django.contrib import admin
from django.urls import NoReverseMatch, reverse

from tests.browser.conftest import log_in, needs_chromium
from tests.factories import make_company, make_merchant, make_staff, make_transaction, make_user

pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), needs_chromium]


def _addresses(request_user):
    from django.test import RequestFactory

    request = RequestFactory().get("/admin/")
    request.user = request_user
    for model, model_admin in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        if model_admin.has_add_permission(request):
            yield reverse(f"{name}_add")
        first = model._default_manager.order_by("pk").first()
        if first is not None:
            yield reverse(f"{name}_change", args=[first.pk])
    for name in ("admin:password_change", "admin:index", "docs"):
        try:
            yield reverse(name)
        except NoReverseMatch:
            continue


def test_every_page_complies_with_the_policy(live_server, page):
    make_company("SBUX", "95.00")
    make_merchant()
    make_transaction(make_user())
    staff = make_staff()
    log_in(page, live_server.url, staff.email)
    for address in list(_addresses(staff)):
        page.goto(live_server.url + address, wait_until="load")


def test_an_injected_script_does_not_run(live_server, page):
    staff = make_staff()
    log_in(page, live_server.url, staff.email)
    directive = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener("securitypolicyviolation", event => done(event.violatedDirective))
            const script = document.createElement("script")
            script.textContent = "window.ran = true"
            document.body.append(script)
        })"""
    )
    assert directive.startswith("script-src")
    assert page.evaluate("window.ran") is None
    page.problems.clear()

"""The Content Security Policy of every answer, and nonces in the templates of packages that know none."""

import re
from typing import Any

import pytest
from django.template.loader import get_template

from kamioi_site.http.csp import _STYLE_TEXT, with_nonces
from tests.factories import api_client, make_staff


@pytest.mark.parametrize(
    ("written", "served"),
    [
        ("<script>x</script>", '<script nonce="{{ request.csp_nonce }}">x</script>'),
        ('<style id="a">', '<style nonce="{{ request.csp_nonce }}" id="a">'),
        ('<script src="a.js"></script>', '<script src="a.js"></script>'),  # by address
        ('<script defer src="a.js">', '<script defer src="a.js">'),
        ('<style nonce="b">', '<style nonce="b">'),  # has one
        ("<scripture>", "<scripture>"),
    ],
)
def test_inline_blocks_get_a_nonce(written, served):
    assert with_nonces(written) == served


def test_unfold_still_writes_what_we_write_otherwise():
    found: Any = get_template("admin/actions.html")
    with open(found.origin.name) as template:
        assert _STYLE_TEXT in template.read()


@pytest.mark.django_db
def test_no_policy_allows_unsafe_inline_and_each_request_has_a_nonce_of_its_own(client):
    client.force_login(make_staff())
    policies = [client.get("/admin/")["Content-Security-Policy"] for _ in range(2)]
    assert all("unsafe-inline" not in policy and "default-src 'self'" in policy for policy in policies)
    nonces = [re.findall(r"'nonce-([^']+)'", policy) for policy in policies]
    assert nonces[0]
    assert set(nonces[0]).isdisjoint(nonces[1])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "evaluates"), [("/admin/login/", True), ("/api/docs/", False), ("/api/user/auth/me", False)]
)
def test_only_the_admin_may_evaluate_expressions(address, evaluates):
    policy = api_client().get(address)["Content-Security-Policy"]
    assert ("'unsafe-eval'" in policy) is evaluates

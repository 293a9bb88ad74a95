"""The Content Security Policy of responses, and nonces in the templates of packages."""

import re
from typing import Any

import pytest
from django.template.loader import get_template

from kamioi_site.http.csp import _STYLE_TEXT, with_nonces
from tests.factories import api_client, make_staff


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("<script>x</script>", '<script nonce="{{ request.csp_nonce }}">x</script>'),
        ('<style id="a">', '<style nonce="{{ request.csp_nonce }}" id="a">'),
        ('<script src="a.js"></script>', '<script src="a.js"></script>'),  # a file, not inline
        ('<script defer src="a.js">', '<script defer src="a.js">'),
        ('<style nonce="b">', '<style nonce="b">'),  # has a nonce
        ("<scripture>", "<scripture>"),
    ],
)
def test_inline_blocks_get_a_nonce(source, expected):
    assert with_nonces(source) == expected


def test_unfold_still_contains_the_style_that_we_replace():
    template: Any = get_template("admin/actions.html")
    with open(template.origin.name) as file:
        assert _STYLE_TEXT in file.read()


@pytest.mark.django_db
def test_no_policy_allows_unsafe_inline_and_each_request_has_a_new_nonce(client):
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
def test_only_the_admin_may_use_eval(address, evaluates):
    policy = api_client().get(address)["Content-Security-Policy"]
    assert ("'unsafe-eval'" in policy) is evaluates

"""Error responses have one format."""

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import Http404
from django.test import RequestFactory
from pytest_django import Settings
from rest_framework import exceptions

from kamioi_site.api.errors import exception_handler, server_error
from kamioi_site.errors import KamioiError
from tests.factories import api_client, make_user

pytestmark = pytest.mark.django_db


class _TakenError(KamioiError):
    """This is taken."""

    status_code = 409


@pytest.mark.parametrize(
    ("error", "code", "body"),
    [
        (KamioiError("No."), 400, {"error": "No."}),
        (_TakenError(), 409, {"error": "This is taken."}),
        (exceptions.ValidationError("Bad."), 400, {"error": "Bad.", "errors": {"non_field_errors": ["Bad."]}}),
        (
            exceptions.ValidationError({"amount": ["Too small."]}),
            400,
            {"error": "amount: Too small.", "errors": {"amount": ["Too small."]}},
        ),
        (
            exceptions.ValidationError([{}, {"amount": ["Too small."]}]),
            400,
            {"error": "1.amount: Too small.", "errors": {"1.amount": ["Too small."]}},
        ),
        (DjangoValidationError("Bad."), 400, {"error": "Bad.", "errors": {"non_field_errors": ["Bad."]}}),
        (DjangoValidationError({"name": "Bad."}), 400, {"error": "name: Bad.", "errors": {"name": ["Bad."]}}),
        (PermissionDenied(), 403, {"error": "Permission denied."}),
        (Http404(), 404, {"error": "Not found."}),
        (exceptions.ParseError("JSON parse error"), 400, {"error": "JSON parse error"}),
        (exceptions.MethodNotAllowed("PUT"), 405, {"error": 'Method "PUT" not allowed.'}),
    ],
)
def test_every_error_has_the_same_format(error: Exception, code: int, body: dict[str, Any]) -> None:
    reply = exception_handler(error, {})
    assert reply is not None
    assert (reply.status_code, reply.data) == (code, {"success": False, **body})


def test_a_bug_is_not_turned_into_a_response() -> None:
    assert exception_handler(ZeroDivisionError(), {}) is None


def test_a_bug_under_api_returns_json_without_details() -> None:
    reply = server_error(RequestFactory().get("/api/anything"))
    assert reply.status_code == 500
    assert b"Internal server error" in reply.content


def test_an_unknown_url_under_api_returns_json() -> None:
    reply = api_client().get("/api/no/such/thing")
    assert (reply.status_code, reply.json()) == (404, {"success": False, "error": "Not found."})


def test_a_body_that_is_too_large_is_refused_before_it_is_read(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    reply = api_client(make_user()).post("/api/transactions", {"merchant": "x" * 200, "amount": 1}, format="json")
    assert reply.status_code == 413
    assert reply.json()["success"] is False

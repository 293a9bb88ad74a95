"""The OpenAPI schema and its documentation page."""

from io import StringIO

import pytest
from django.core.management import call_command

from tests.factories import api_client

pytestmark = pytest.mark.django_db


def test_the_schema_is_valid_and_without_warnings() -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", stdout=StringIO())


def test_schema_and_documentation_are_served_without_external_resources() -> None:
    assert api_client().get("/api/schema/").status_code == 200
    page = api_client().get("/api/docs/").content.decode()
    assert "/static/drf_spectacular_sidecar/" in page
    assert "http://" not in page.replace("http://testserver", "")
    assert "https://" not in page


def test_the_root_url_redirects_to_the_admin() -> None:
    reply = api_client().get("/")
    assert (reply.status_code, reply["Location"]) == (302, "/admin/")

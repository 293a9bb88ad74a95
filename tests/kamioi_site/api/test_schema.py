"""Generated requests to every endpoint: no 5xx, and no undocumented status, media type or body.

Schemathesis makes valid and invalid requests from the schema, the same ones each time; they are sent in process.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from hypothesis import HealthCheck, Phase, given, settings
from pytest_django import Settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from kamioi_site.wsgi import application
from llm_center.models import LlmDataAsset, LlmMapping
from tests.factories import make_company, make_staff, make_transaction, make_user
from transactions.models import ApiToken, BackgroundTask, JournalEntry, User

pytestmark = pytest.mark.django_db
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
VALID, BROKEN = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
# User → number of valid and invalid requests per endpoint.
ROUNDS = {"anonymous": (1, 1), "customer": (1, 1), "admin": (2, 2)}


@cache
def api() -> Any:
    served = OpenApiJsonRenderer().render(SchemaGenerator().get_schema(public=True))
    schema = schemathesis.openapi.from_dict(json.loads(served))
    schema.app = application
    return schema


def operations() -> Iterator[Any]:
    for found in api().get_all_operations():
        yield found.ok()


@pytest.fixture
def world(settings: Settings) -> dict[str, Any]:
    """One object of each kind in a URL, and no rate limits."""
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}
    settings.ALLOWED_HOSTS = ["*"]
    make_company()
    owner, staff = make_user(), make_staff()
    return {
        "mapping_id": LlmMapping.objects.create(merchant_name="X", merchant_key="X", source="user", ticker="SBUX").pk,
        "asset_id": LlmDataAsset.objects.create(asset_name="Model", asset_type="model").pk,
        "number": JournalEntry.objects.create(entry_date="2026-01-01", amount=1, lines=[], created_by=staff).number,
        "transaction_id": make_transaction(owner).pk,
        "task_id": str(BackgroundTask.objects.create(name="x", user=owner).pk),
        "user_id": owner.pk,
    }


@pytest.fixture(autouse=True)
def _one_connection() -> Iterator[None]:
    """Keep the connection open, because requests run inside the test's transaction."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


class _RollbackError(Exception):
    pass


def _tried(operation: Any, token: str | None, mode: GenerationMode, number: int, known: dict[str, Any] | None) -> None:
    # This transport does not decompress; compression has its own tests.
    headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
    names = {parameter.name for parameter in operation.path_parameters}
    fixed = {name: known[name] for name in names if name in known} if known and mode is VALID else None

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=fixed))
    def send(case: Any) -> None:
        try:
            with transaction.atomic():
                case.headers = {**(case.headers or {}), **headers}
                response = case.call()
                # An event stream is documented as text, without its events.
                streams = "text/event-stream" in response.headers.get("content-type", [""])[0]
                case.validate_response(response, checks=CHECKS[:-1] if streams else CHECKS)
                raise _RollbackError
        except _RollbackError:
            pass  # every request starts from the same data

    send()


@pytest.mark.parametrize("who", ROUNDS)
def test_generated_requests_get_documented_responses(who: str, world: dict[str, Any], subtests: Any) -> None:
    people: dict[str, User | None] = {"anonymous": None, "customer": make_user(), "admin": make_staff()}
    person = people[who]
    token = ApiToken.issue(user=person)[1] if person else None
    valid, broken = ROUNDS[who]
    seen = 0
    for operation in operations():
        seen += 1
        with subtests.test(f"{operation.method.upper()} {operation.path}"):
            _tried(operation, token, VALID, valid, world)
            _tried(operation, token, BROKEN, broken, None)
    assert seen > 120

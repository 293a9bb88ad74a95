"""Generated requests to every endpoint, by every kind of user: Schemathesis finds nothing.

All its checks are on: no 5xx; no undocumented status, media type or body; what the schema allows is accepted, what it
does not allow is refused; no endpoint that requires a token works without one. Requests are sent in process.

`make test` sends the same few requests each time: to each operation at least one that is valid and one that is not, by
a user whom it is for. Of operations that differ only in the area of the customer it tries the first.
`make fuzz` sends them all: `FUZZ_EXAMPLES` of each kind, from a new seed, and every boundary of every parameter.
"""

import json
import os
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, Final

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.urls import resolve
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from hypothesis import HealthCheck, Phase, given, seed, settings
from pytest_django import Settings
from schemathesis import GenerationMode
from schemathesis.core.failures import AcceptedNegativeData, Failure, FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.drivers import CoverageGenerator
from schemathesis.generation.feedback import NO_FEEDBACK
from schemathesis.generation.overrides import Override
from schemathesis.openapi.checks import RejectedPositiveData

from kamioi_site.wsgi import application
from tests.factories import make_company
from tests.operations import STAFF, Operation, World, kind_of, make_world
from transactions.models import ApiToken, User

pytestmark = pytest.mark.django_db
VALID, BROKEN = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
ROLES: Final = ("anonymous", "customer", "reviewer", "superuser")
# Examples of each kind per operation; 0 for the bounded run.
EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES") or 0)
SEED: Final = int(os.environ.get("FUZZ_SEED") or 0)
SLICES: Final = 12 if EXAMPLES else 1

# Fields whose content may be refused although it has the right form. The error names the field.
CONTENT: Final = {
    "non_field_errors": "a rule about several fields",
    "cursor": "signed; only the server makes them",
    "page": "the page and the rows per page together end at row 10,000",
    "password": "common passwords, and those similar to the name or e-mail, are refused",
    "newPassword": "as `password`",
    "date": "purchases have a range of days; figures of the LLM Center are of today",
    "end_date": "the last day of the calendar has no end",
    "period": "a month that has ended, with transactions",
    "entry_date": "something has to be due",
    "lines": "debits equal credits; other fields may replace the lines",
    "file": "has to be a statement, or a list of mappings",
}
# Operations that a check does not fit: failure and path → reason.
EXCLUDED: Final[dict[tuple[type[Failure], str], str]] = {
    (AcceptedNegativeData, r"/api/transactions/bulk"): "invalid rows are reported by the task",
    (RejectedPositiveData, r"/api/\w+/settings"): "OpenAPI 3.0 cannot describe the names of settings",
}


def _read_and_closed(environ: Any, start_response: Any) -> list[bytes]:
    """Serve a request to the end; a file that is sent is closed then."""
    body = application(environ, start_response)
    try:
        return [b"".join(body)]
    finally:
        body.close()


@cache
def api() -> Any:
    served = OpenApiJsonRenderer().render(SchemaGenerator().get_schema(public=True))
    schema = schemathesis.openapi.from_dict(json.loads(served))
    schema.app = _read_and_closed
    return schema


@cache
def operations() -> list[Any]:
    return [found.ok() for found in api().get_all_operations()]


@pytest.fixture
def world(settings: Settings) -> World:
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}
    make_company()
    return make_world()


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


class Caller:
    """Sends requests as one user, each to the same data, and collects what is wrong with the responses."""

    def __init__(self, user: User | None, world: World) -> None:
        self._world = world
        # This transport does not decompress; compression has its own tests.
        self._headers = {"Accept-Encoding": "identity"}
        if user is not None:
            self._headers["Authorization"] = f"Bearer {ApiToken.issue(user=user)[1]}"
        self.findings: dict[str, str] = {}

    def send(self, case: Any) -> None:
        self._address(case)
        try:
            with transaction.atomic():
                response = case.call(headers=self._headers)
                case.validate_response(response, headers=self._headers)
                raise _RollbackError
        except _RollbackError:
            pass
        except FailureGroup as group:
            for failure in group.exceptions:
                if not _is_expected(failure, case, response):
                    self._add(failure, case, response)

    def _address(self, case: Any) -> None:
        """Address objects of the customer, unless the case is about their ids."""
        about = getattr(case.meta.phase.data, "parameter_location", None)
        if case.path_parameters and not case.meta.is_negative_at(ParameterLocation.PATH) and about != "path":
            parent = case.path.split("/{")[0].rsplit("/", 1)[-1]
            things = self._world.things
            case.path_parameters = {
                name: str(things.get(f"{parent}/{name}", things[name])) for name in case.path_parameters
            }

    def _add(self, failure: Failure, case: Any, response: Any) -> None:
        what = f"{failure.title}: {failure.message}\n{response.status_code} {response.content[:300]!r}"
        self.findings.setdefault(what, f"{what}\n{case.as_curl_command(headers=self._headers)}")


def _is_expected(failure: Failure, case: Any, response: Any) -> bool:
    for (kind, path), _reason in EXCLUDED.items():
        if isinstance(failure, kind) and re.fullmatch(path, case.path):
            return True
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return False
    # Without `errors` the request has the right form, but a rule of the business refuses it.
    return set(response.json().get("errors", ())) <= CONTENT.keys()


def _boundaries(operation: Any) -> Iterator[Any]:
    return iter(
        CoverageGenerator(
            operation=operation,
            generation_modes=[VALID, BROKEN],
            generation_config=operation.schema.config.generation_for(operation=operation, phase="coverage"),
            auth_storage=None,
            override=Override(),
            feedback=NO_FEEDBACK,
        )
    )


def _send_examples(operation: Any, mode: GenerationMode, number: int, caller: Caller) -> None:
    @seed(SEED)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        caller.send(case)

    send()


def _is_bounded_share(number: int, operation: Any, role: str) -> bool:
    """Give each operation to those it is for, and a sixth of them to others."""
    return role == ("superuser" if operation.path.startswith(STAFF) else "customer") or number % 6 == ROLES.index(role)


def _distinct(world: World) -> set[int]:
    """Return the numbers of the operations without those whose view and description an earlier one has."""
    first: dict[tuple[Any, ...], int] = {}
    for number, operation in enumerate(operations()):
        view = resolve(world.url(Operation(operation.method, operation.path, {}))).func
        spec = {name: part for name, part in operation.definition.raw.items() if name not in {"operationId", "tags"}}
        is_for_staff = operation.path.startswith(STAFF)
        first.setdefault((operation.method, is_for_staff, *kind_of(view), repr(spec)), number)
    return set(first.values())


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("role", ROLES)
def test_generated_requests_get_documented_responses(role: str, part: int, world: World, subtests: Any) -> None:
    people = {"anonymous": None, "customer": world.owner, "reviewer": world.reviewer, "superuser": world.admin}
    distinct = _distinct(world)
    for number, operation in enumerate(operations()[part::SLICES]):
        if not EXAMPLES and not (number in distinct and _is_bounded_share(number, operation, role)):
            continue
        caller = Caller(people[role], world)
        for mode in (VALID, BROKEN):
            _send_examples(operation, mode, EXAMPLES or 1, caller)
        for case in _boundaries(operation) if EXAMPLES else islice(_boundaries(operation), 2):
            caller.send(case)
        with subtests.test(f"{operation.method.upper()} {operation.path}"):
            assert not caller.findings, "\n\n".join(caller.findings.values())


def test_the_schema_has_all_operations() -> None:
    assert len(operations()) > 120

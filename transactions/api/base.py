"""What the views share: the caller, validated input, links to background tasks, cached responses."""

import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast
from uuid import UUID

from django.http import HttpResponse
from django.urls import reverse
from rest_framework import status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.json_renderer import json_bytes
from kamioi_site.api.payloads import SuccessOutput
from kamioi_site.auth.login_throttling import confirm_password
from kamioi_site.cache.namespaces import CacheLookup
from transactions.cache import READS_GENERATION, TRANSACTIONS
from transactions.errors import WrongPasswordError
from transactions.migration_phase import KAMIOI, ReadSource, get_read_source
from transactions.models import ApiToken, BackgroundTask, User


class QueuedOutput(SuccessOutput):
    """The work continues in the background; poll `status_url`."""

    task_id: UUID
    status: Annotated[str, BackgroundTask.Status]
    status_url: str


class ImportQueuedOutput(QueuedOutput):
    """The work on an import continues in the background; poll `status_url`."""

    import_id: int


class QueuedMessageOutput(QueuedOutput):
    """The work continues in the background; poll `status_url`."""

    message: str


def current_user(request: Request) -> User:
    """Return the caller of a view that requires authentication."""
    return cast("User", request.user)


def current_token(request: Request) -> ApiToken | None:
    """Return the token of the request; None for a session."""
    return request.auth if isinstance(request.auth, ApiToken) else None


def require_password(request: Request, password: str, message: str | None = None) -> None:
    """Check that the caller knows their password. Raises WrongPasswordError, Throttled."""
    if not password or not confirm_password(request._request, request.user, password):
        raise WrongPasswordError(message)


def validated(serializer: Any) -> dict[str, Any]:
    """Return the validated data, or raise ValidationError with the invalid fields."""
    serializer.is_valid(raise_exception=True)
    return cast("dict[str, Any]", serializer.validated_data)


def task_links(task: BackgroundTask) -> dict[str, Any]:
    """Return what a client needs to follow a background task."""
    return {"task_id": task.pk, "status": task.status, "status_url": reverse("api-task", args=[task.pk])}


def accepted(task: BackgroundTask, **fields: Any) -> Response:
    """Return 202 for work that continues in a background task."""
    return Response({"success": True} | fields | task_links(task), status=status.HTTP_202_ACCEPTED)


class TransactionsView(ETagView):
    """Base of views whose GET is rendered once per page until the caller's transactions change.

    Responses read from the legacy system's file are never cached, because its changes are unknown.
    """

    read_source: ReadSource = KAMIOI
    _lookup: CacheLookup | None = None

    def cache_page(self, request: Request) -> str:
        """Return what distinguishes this response from the caller's others. Raises ValidationError."""
        raise NotImplementedError

    def version(self, request: Request) -> str | None:
        """Return the generation of the caller's transactions.

        The time is part of it, so that a write without invalidation becomes visible when the cache expires.
        """
        user = current_user(request)
        lookup = TRANSACTIONS.look(also=READS_GENERATION, user_id=user.pk, page=self.cache_page(request))
        self.read_source = get_read_source(user, generation=lookup.also)
        if not self.read_source.is_kamioi:
            return None
        self._lookup = lookup
        version = lookup.version
        return version and f"{version}.{int(time.time() // TRANSACTIONS.ttl)}"

    def cached(self, payload: Callable[[], Mapping[str, Any]]) -> HttpResponse:
        """Return the payload as JSON, from the cache if it is there."""

        def render() -> bytes:
            return json_bytes(payload())

        content = render() if self._lookup is None else self._lookup.get(render)
        return HttpResponse(content, content_type=JSONRenderer.media_type)

"""What the views share: the caller, checked input, documented refusals, answers for work that goes on, `Idempotency-Key`."""

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.urls import reverse
from rest_framework import status
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.etags import ETagView
from kamioi_site.api.json_renderer import json_bytes
from kamioi_site.api.views import ApiView
from kamioi_site.cache.namespaces import CacheLookup
from transactions.api import serializers as shapes
from transactions.cache import READS_GENERATION, TRANSACTIONS
from transactions.migration_phase import KAMIOI, ReadSource, get_read_source
from transactions.models import BackgroundTask, User
from transactions.services.idempotency import begin_idempotent_request, store_idempotent_response

_KEY = re.compile(r"[\x20-\x7e]{1,100}")


def errors(*codes: int) -> dict[int, type[shapes.ErrorOutput]]:
    """The refusals of an address, for the schema; 429 is possible everywhere."""
    return dict.fromkeys((*codes, 429), shapes.ErrorOutput)


def current_user(request: Request) -> User:
    """Who asks; views that call this let nobody anonymous in."""
    return cast("User", request.user)


def validated(serializer: Any) -> dict[str, Any]:
    """What the serializer makes of its input. Raises ValidationError, which names the fields."""
    serializer.is_valid(raise_exception=True)
    return cast("dict[str, Any]", serializer.validated_data)


def task_links(task: BackgroundTask) -> dict[str, Any]:
    """What a reader needs to follow a background task."""
    return {"task_id": task.pk, "status": task.status, "status_url": reverse("api-task", args=[task.pk])}


def accepted(
    task: BackgroundTask, *, message: str = "", data: Mapping[str, Any] | None = None, **more: Any
) -> Response:
    """202: the work goes on in the background, and the task says what comes of it."""
    body: dict[str, Any] = {"success": True}
    if message:
        body["message"] = message
    body |= task_links(task) | more
    if data is not None:
        body["data"] = dict(data)
    return Response(body, status=status.HTTP_202_ACCEPTED)


def idempotency_key(request: Request) -> str:
    """The `Idempotency-Key` header, empty when absent."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if key and not _KEY.fullmatch(key):
        raise ValidationError({"Idempotency-Key": ["Up to 100 printable ASCII characters are allowed."]})
    return key


class TransactionsView(ETagView):
    """Base of views whose GET changes only with the caller's transactions: rendered once for each page while none of them does.

    Who is still answered from the legacy system's file is answered anew: nobody tells when that changes.
    """

    _look: CacheLookup | None = None
    read_source: ReadSource = KAMIOI

    def page(self, request: Request) -> str:
        """What stands for this answer among those of the caller. Raises ValidationError."""
        raise NotImplementedError

    def version(self, request: Request) -> str | None:
        """The generation of the caller's transactions. With the time in it, for writes that nobody told of: those are seen
        as late as by the cache.
        """
        user = current_user(request)
        look = TRANSACTIONS.look(also=READS_GENERATION, user_id=user.pk, page=self.page(request))
        self.read_source = get_read_source(user, generation=look.also)
        if not self.read_source.is_kamioi:
            return None
        self._look = look
        version = look.version
        return version and f"{version}.{int(time.time() // TRANSACTIONS.ttl)}"

    def answered(self, body: Callable[[], Mapping[str, Any]]) -> HttpResponse:
        """The answer, from the cache where it is there."""

        def rendered() -> bytes:
            return json_bytes(body())

        content = rendered() if self._look is None else self._look.get(rendered)
        return HttpResponse(content, content_type=JSONRenderer.media_type)


class IdempotentView(ApiView):
    """Base of views whose POST makes something: sent again with the same `Idempotency-Key`, it is answered again and
    nothing is made twice (see `transactions.services.idempotency`). A refusal is not remembered: mended, the request
    may be sent again with its key. The handler runs in one transaction with the key.
    """

    idempotent = True  # for the schema

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Put the key before the handler of this one request."""
        super().initial(request, *args, **kwargs)
        handler = getattr(self, "post", None)
        if request.method == "POST" and handler and (key := idempotency_key(request)):
            vars(self)["post"] = partial(_once_and_close, key, handler)


def _once_and_close(
    key: str, handler: Callable[..., HttpResponseBase], request: Request, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    try:
        return _once(key, handler, request, *args, **kwargs)
    finally:
        for file in request.FILES.values():  # where the handler did not come to it
            file.close()


def _once(
    key: str, handler: Callable[..., HttpResponseBase], request: Request, *args: Any, **kwargs: Any
) -> HttpResponseBase:
    user_id, fingerprint = current_user(request).pk, _fingerprint(request)
    with transaction.atomic():
        known = begin_idempotent_request(user_id=user_id, key=key, fingerprint=fingerprint)
        if known is not None:
            return HttpResponse(
                known.answer,
                status=known.status,
                content_type="application/json",
                headers={"Idempotency-Replayed": "true"},
            )
        reply = handler(request, *args, **kwargs)
        if reply.status_code < 400 and isinstance(reply, Response):
            answer = json_bytes(reply.data).decode()
            store_idempotent_response(user_id=user_id, key=key, status=reply.status_code, answer=answer)
        else:
            transaction.set_rollback(True)
    return reply


def _fingerprint(request: Request) -> str:
    """SHA-256 of method, address and body; a file counts by its name and content, a JSON object whatever its order."""
    digest = hashlib.sha256(f"{request.method} {request.get_full_path()}\n".encode())
    data: Any = request.data
    if isinstance(data, QueryDict):
        data = dict(data.lists())
    if isinstance(data, Mapping):
        data = {
            name: value
            for name, value in data.items()
            if not isinstance(value[0] if isinstance(value, list) and value else value, UploadedFile)
        }
    digest.update(json.dumps(data, sort_keys=True, default=str).encode())
    for name, file in sorted(request.FILES.items()):
        digest.update(f"\n{name} {file.name} {file.size}\n".encode())
        for chunk in file.chunks():
            digest.update(chunk)
        file.seek(0)
    return digest.hexdigest()

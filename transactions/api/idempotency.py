"""`Idempotency-Key`: a repeated POST gets the first response and changes nothing."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, TypeVar, cast

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.http import HttpResponse, HttpResponseBase, QueryDict
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.json_renderer import json_bytes
from transactions.api.base import current_user
from transactions.services.idempotency import begin_idempotent_request, store_idempotent_response

_KEY: Final = re.compile(r"[\x20-\x7e]{1,100}")
Handler = TypeVar("Handler", bound=Callable[..., HttpResponseBase])


def idempotency_key(request: Request) -> str:
    """Return the `Idempotency-Key` header, empty when absent."""
    key = request.headers.get("Idempotency-Key", "").strip()
    if key and not _KEY.fullmatch(key):
        raise ValidationError({"Idempotency-Key": ["Must be up to 100 printable ASCII characters."]})
    return key


def idempotent(handler: Handler) -> Handler:
    """Decorate a `post` handler, which then runs in one transaction with the key of the request.

    An error response is not stored: the corrected request may be sent with the same key.
    """

    @wraps(handler)
    def post(view: Any, request: Request, *args: Any, **kwargs: Any) -> HttpResponseBase:
        key = idempotency_key(request)
        if not key:
            return handler(view, request, *args, **kwargs)
        try:
            return _run_once(key, request, lambda: handler(view, request, *args, **kwargs))
        finally:
            for file in request.FILES.values():  # in case the handler did not run
                file.close()

    post.idempotent = True  # type: ignore[attr-defined]  # for the schema
    return cast("Handler", post)


def _run_once(key: str, request: Request, run: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    user_id = current_user(request).pk
    with transaction.atomic():
        stored = begin_idempotent_request(user_id=user_id, key=key, fingerprint=request_fingerprint(request))
        if stored is not None:
            return HttpResponse(
                stored.answer,
                status=stored.status,
                content_type="application/json",
                headers={"Idempotency-Replayed": "true"},
            )
        response = run()
        if response.status_code < 400 and isinstance(response, Response):
            answer = json_bytes(response.data).decode()
            store_idempotent_response(user_id=user_id, key=key, status=response.status_code, answer=answer)
        else:
            transaction.set_rollback(True)
    return response


def request_fingerprint(request: Request) -> str:
    """Hash method, URL and body: files by name and content, JSON objects independent of the order of their keys."""
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

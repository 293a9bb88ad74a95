"""Views that only the legacy front end calls: their base, what most of them are made of, and their URLs."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from django.urls import URLPattern, path
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.views import ApiView

Reply = Callable[..., Mapping[str, Any]]


class LegacyView(ApiView):
    """Base of a view that the documented API does not have."""

    schema = None  # leaves it out of the OpenAPI schema


def replying(base: type[LegacyView] = LegacyView, *, method: str = "get", **attributes: Any) -> Callable[[Reply], Any]:
    """Return a decorator that makes a view of a function of the request, which returns the fields beside `success`."""

    def decorate(reply: Reply) -> Any:
        def handle(_: LegacyView, request: Request, **ids: Any) -> Response:
            return Response({"success": True, **reply(request, **ids)})

        return type(reply.__name__, (base,), attributes | {method: handle}).as_view()  # type: ignore[attr-defined]

    return decorate


def legacy_path(route: str, view: Any) -> URLPattern:
    """Return the URL, with a name from its route."""
    name = re.sub(r"\W+", "-", re.sub(r"<\w+:(\w+)>", r"\1", route))
    return path(route, view, name=f"api-legacy-{name.strip('-')}")

"""What the views for the legacy front end share: their base, the names of their fields, and their URLs."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from django.urls import URLPattern, path
from rest_framework import exceptions, status
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.views import ApiView

Reply = Callable[..., Mapping[str, Any] | Response]
# For each kind of row a table `{the front end's name: ours}`; and the word for each of our statuses.
NAMES: Final[Mapping[str, Mapping[str, str]]] = json.loads((Path(__file__).parent / "names.json").read_text())


class MoreMethods(ApiView):
    """A documented view with methods that only the legacy front end calls, and that `Allow` leaves out."""

    undocumented: tuple[str, ...] = ()

    @property
    def allowed_methods(self) -> list[str]:
        return [method for method in super().allowed_methods if method not in self.undocumented]


class BannerErrors(ApiView):
    """Repeats the text of an error as `message`, the only key that some banners read."""

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if response.status_code != status.HTTP_401_UNAUTHORIZED and "error" in (response.data or {}):
            response.data["message"] = response.data["error"]
        return response


class NotOfferedError(exceptions.APIException):
    """The page shows an action that does not exist here; its banner shows the reason."""

    status_code = status.HTTP_501_NOT_IMPLEMENTED


class LegacyView(BannerErrors):
    """Base of a view that the documented API does not have."""

    schema = None  # leaves it out of the OpenAPI schema


def replying(
    base: type[LegacyView] = LegacyView, *, method: str = "get", refused: str = "", **attributes: Any
) -> Callable[[Reply], Any]:
    """Return a decorator that makes a view of a function of the request.

    The function returns the fields beside `success`, or a response. With a sentence for `refused`, POST is refused.
    """

    def refuse(_: LegacyView, request: Request) -> Response:
        raise NotOfferedError(refused)

    def decorate(reply: Reply) -> Any:
        def handle(_: LegacyView, request: Request, **ids: Any) -> Response:
            result = reply(request, **ids)
            if isinstance(result, Response):
                return result
            return Response({"success": True, **result}, headers={"Cache-Control": "private, no-store"})

        handlers = {method: handle} | ({"post": refuse} if refused else {})
        return type(reply.__name__, (base,), attributes | handlers).as_view()  # type: ignore[attr-defined]

    return decorate


def renamed(table: str, row: Any) -> dict[str, Any]:
    """Return the attributes of an object, or the items of a mapping, under the front end's names."""
    if isinstance(row, Mapping):
        return {shown: row[name] for shown, name in NAMES[table].items()}
    return {shown: getattr(row, name) for shown, name in NAMES[table].items()}


def with_our_names(table: str, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was sent, and the fields of the table under our names as well: the front end's win."""
    return {**sent, **{name: sent[shown] for shown, name in NAMES[table].items() if shown in sent}}


def legacy_path(route: str, view: Any) -> URLPattern:
    """Return the URL, with a name from its route."""
    name = re.sub(r"\W+", "-", re.sub(r"<\w+:(\w+)>", r"\1", route))
    return path(route, view, name=f"api-legacy-{name.strip('-')}")

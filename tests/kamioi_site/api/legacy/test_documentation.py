"""docs/legacy-frontend.md and the code agree: which paths are served, refused and not served."""

import re
from collections.abc import Iterator
from typing import Any, Final

from django.urls import URLResolver, get_resolver

from kamioi_site.api.legacy.replies import FIXED_REPLIES
from kamioi_site.api.legacy.views import LegacyView
from tests.legacy_pages import documented, documented_lines

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def _routes(patterns: Any, prefix: str = "/") -> Iterator[tuple[str, str, Any]]:
    """Yield each method of each route below /api/ with its class."""
    for entry in patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _routes(entry.url_patterns, path)
        elif path.startswith("/api/"):
            view: Any = getattr(entry.callback, "view_class", None)
            options: dict[str, Any] = getattr(entry.callback, "view_initkwargs", {})
            allowed = options.get("http_method_names") or getattr(view, "http_method_names", [])
            for method in METHODS:
                if method.lower() in allowed and hasattr(view, method.lower()):
                    yield method, re.sub(r"<[^>]+>", "{}", path), view


ROUTES: Final = list(_routes(get_resolver().url_patterns))
SERVED: Final = {(method, path) for method, path, _ in ROUTES}


def test_every_path_that_only_the_legacy_front_end_calls_is_documented() -> None:
    known, refused = documented("Served") | documented("Empty replies"), documented("Not done: 501")
    refused_paths = {path for _, path in refused}  # some refuse every method
    only_legacy = {(method, path) for method, path, view in ROUTES if issubclass(view, LegacyView)}
    assert {call for call in only_legacy - known if call[1] not in refused_paths} == set()


def test_what_is_documented_is_served_and_the_rest_is_not() -> None:
    for heading in ("Documented endpoints with more keys", "Served", "Empty replies", "Not done: 501"):
        assert documented(heading) - SERVED == set()
    assert documented("Not served: 404") & SERVED == set()


def test_fixed_replies_are_documented_with_their_reason() -> None:
    lines = documented_lines()
    for reply in FIXED_REPLIES:
        heading = "Empty replies" if reply.status == 200 else "Not done: 501"
        path = "/api/" + re.sub(r"{\w+}", "{}", reply.path)
        assert (reply.method, path) in documented(heading)
        assert any(f"{path}`" in line and line.endswith(f" | {reply.reason} |") for line in lines)

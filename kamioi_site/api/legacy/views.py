"""The base of views that only the legacy front end calls, and their URLs."""

import re
from typing import Any

from django.urls import URLPattern, path

from kamioi_site.api.views import ApiView


class LegacyView(ApiView):
    """Base of a view that the documented API does not have."""

    schema = None  # leaves it out of the OpenAPI schema


def legacy_path(route: str, view: Any) -> URLPattern:
    """Return the URL, with a name from its route."""
    name = re.sub(r"\W+", "-", re.sub(r"<\w+:(\w+)>", r"\1", route))
    return path(route, view, name=f"api-legacy-{name.strip('-')}")

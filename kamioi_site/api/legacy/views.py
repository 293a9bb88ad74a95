"""The base of views that only the legacy front end calls."""

from kamioi_site.api.views import ApiView


class LegacyView(ApiView):
    """Base of a view that the documented API does not have."""

    schema = None  # leaves it out of the OpenAPI schema

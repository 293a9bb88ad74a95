"""Security schemes of the OpenAPI schema; apart from `authentication`, which DRF imports while it loads."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerScheme(OpenApiAuthenticationExtension):
    """A bearer token in the header."""

    target_class = "transactions.api.authentication.BearerTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {"type": "http", "scheme": "bearer"}


class QueryTokenScheme(OpenApiAuthenticationExtension):
    """A token in the query string."""

    target_class = "transactions.api.authentication.QueryTokenAuthentication"
    name = "queryToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return the security scheme."""
        return {"type": "apiKey", "in": "query", "name": "admin_token"}


class FormTokenScheme(OpenApiAuthenticationExtension):
    """A token in a form: only for the legacy front end, so it is not documented."""

    target_class = "transactions.api.authentication.FormTokenAuthentication"
    name: list[str] = []

    def get_security_requirement(self, auto_schema: Any) -> Any:
        """Return nothing."""
        return None

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        """Return nothing."""
        return []

"""What drf-spectacular cannot find out by itself. Apart from `authentication`, which DRF imports while it loads."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class BearerScheme(OpenApiAuthenticationExtension):
    """How the schema describes the tokens."""

    target_class = "transactions.api.authentication.BearerTokenAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """An HTTP bearer scheme."""
        return {"type": "http", "scheme": "bearer"}


class QueryTokenScheme(OpenApiAuthenticationExtension):
    """A token in the query, where a view takes one."""

    target_class = "transactions.api.authentication.QueryTokenAuthentication"
    name = "queryToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """A key in the query."""
        return {"type": "apiKey", "in": "query", "name": "admin_token"}

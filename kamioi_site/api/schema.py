"""What every operation of the OpenAPI schema has without its view naming it: headers and error responses."""

from typing import Any, Final

from drf_spectacular.openapi import AutoSchema
from rest_framework.permissions import AllowAny, IsAuthenticated

from kamioi_site.api import typed_schema  # noqa: F401  # registers itself with drf-spectacular
from kamioi_site.api.fields import ANY_TEXT, DocumentedField
from kamioi_site.api.payloads import ErrorOutput

_IDEMPOTENCY_KEY: Final = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "pattern": "^([!-~]([ -~]{0,98}[!-~])?)?$"},
    "description": "Up to 100 printable characters. A repeated request with the same key gets the first response.",
}
_IF_NONE_MATCH: Final = {
    "in": "header",
    "name": "If-None-Match",
    "schema": {"type": "string"},
    "description": "The ETag of the response that the client has.",
}
_ERRORS: Final = {
    "400": "Invalid request.",
    "401": "Not authenticated.",
    "403": "Permission denied.",
    "404": "Not found, or owned by another user.",
    "409": "The idempotency key belongs to another request, or the first request is still running.",
    "413": "The request is too large.",
    "415": "Unsupported media type.",
    "429": "Too many requests; `Retry-After` gives the wait in seconds.",
    "503": "Overloaded: nothing was started; `Retry-After` gives the wait in seconds.",
}


class ApiSchema(AutoSchema):
    """Adds idempotency keys, conditional requests and the errors that every operation of a kind may return.

    A view names an error response only where its body or its meaning is unusual.
    """

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """Return the operation with these additions."""
        operation = super().get_operation(*args, **kwargs)
        if not operation:
            return operation
        parameters, responses = operation.setdefault("parameters", []), operation["responses"]
        codes = self._error_codes(operation)
        if self.method == "POST" and self._has_idempotency_key():
            parameters.append(_IDEMPOTENCY_KEY)
            codes |= {"409", "413", "415"}  # the body is compared with that of the first request
        if self.method == "GET" and getattr(self.view, "conditional", False):
            parameters.append(_IF_NONE_MATCH)
            responses.setdefault("304", {"description": "Not modified."})
        for parameter in parameters:
            if parameter["in"] == "query":
                _complete(parameter)
        if not parameters:
            del operation["parameters"]
        # Resolved by our extension.
        body = {"schema": self.resolve_serializer(ErrorOutput, "response").ref}  # type: ignore[arg-type]
        for code in sorted(codes - set(responses)):
            responses[code] = {"content": {"application/json": body}, "description": _ERRORS[code]}
        return operation

    def get_operation_id(self) -> str:
        """Distinguish a list (`is_list` of the view) from one of its rows, whose path differs by a parameter only."""
        name = str(super().get_operation_id())
        return name.removesuffix("_retrieve") + "_list" if getattr(self.view, "is_list", False) else name

    def _has_idempotency_key(self) -> bool:
        decorated = getattr(getattr(self.view, "post", None), "idempotent", False)
        return decorated or getattr(self.view, "has_idempotency_key", False)

    def _error_codes(self, operation: dict[str, Any]) -> set[str]:
        codes = {"400", "429", "503"}
        codes |= {"404"} if any(parameter["in"] == "path" for parameter in operation["parameters"]) else set()
        codes |= {"413", "415"} if "requestBody" in operation else set()
        if any(operation.get("security", ())):
            restricted = set(self.view.permission_classes) - {AllowAny, IsAuthenticated}
            # Unsafe methods: a session without its CSRF token.
            codes |= {"401", "403"} if restricted or self.method not in {"GET", "HEAD"} else {"401"}
        return codes

    def _insert_field_validators(self, field: Any, schema: Any) -> None:
        """Leave a field that documents itself as it is."""
        if not isinstance(field, DocumentedField):
            super()._insert_field_validators(field, schema)


def _complete(parameter: dict[str, Any]) -> None:
    """Document what holds for every query parameter: text has no NUL, and an empty value is like none."""
    schema = parameter["schema"]
    if schema.get("type") == "string" and not schema.keys() & {"enum", "format", "pattern"}:
        schema["pattern"] = ANY_TEXT
    if not parameter.get("required"):
        parameter["allowEmptyValue"] = True

"""What every operation of the OpenAPI schema says by itself: idempotency keys and conditional GET."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "pattern": "^[!-~]{1,100}$"},
    "description": "Up to 100 printable characters. The same key with the same request again is answered as the first one.",
}
_VALIDATOR = {
    "in": "header",
    "name": "If-None-Match",
    "schema": {"type": "string"},
    "description": "The ETag of the answer that is there already.",
}


class ApiSchema(AutoSchema):
    """Adds what views derived from `IdempotentView` and `ETagView` can do besides."""

    def get_operation(self, *args: Any, **kwargs: Any) -> Any:
        """The operation, with the headers and answers of its base classes."""
        operation = super().get_operation(*args, **kwargs)
        if not operation:
            return operation
        parameters, responses = operation.setdefault("parameters", []), operation["responses"]
        if self.method == "POST" and getattr(self.view, "idempotent", False):
            parameters.append(_KEY)
            responses.setdefault("409", responses["401"])
        if self.method == "GET" and getattr(self.view, "conditional", False):
            parameters.append(_VALIDATOR)
            responses.setdefault("304", {"description": "Nothing has changed."})
        if not parameters:
            del operation["parameters"]
        return operation

"""Base classes of the API's views: rate limits, validated input, one error format."""

from typing import Any, NoReturn

from django.http import Http404, HttpRequest
from rest_framework import exceptions
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from kamioi_site.api.fields import ID_MAX
from kamioi_site.api.throttling import RateLimitThrottle
from kamioi_site.api.validation import ValidatedRequest, contains_invalid_text


class ApiView(APIView):
    """Base of every API view."""

    throttle_classes = [RateLimitThrottle]
    rate_scope: str | None = None

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Return a request whose body is validated when it is parsed."""
        return ValidatedRequest(
            request,
            parsers=self.get_parsers(),
            authenticators=self.get_authenticators(),
            negotiator=self.get_content_negotiator(),
            parser_context=self.get_parser_context(request),
        )

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Leave the parsed body for the audit trail, which reads the ids of the accessed rows from it."""
        inner = getattr(request, "_request", None)
        if inner is not None:
            inner.audit_data = request.__dict__.get("_full_data")
        return super().finalize_response(request, response, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse invalid text in the URL."""
        super().initial(request, *args, **kwargs)
        for value in kwargs.values():
            if (isinstance(value, int) and value > ID_MAX) or contains_invalid_text(value):
                raise Http404
        for name, texts in request.query_params.lists():
            if contains_invalid_text([name, *texts]):
                raise exceptions.ValidationError({"query": ["The query contains NUL or invalid characters."]})

    def perform_authentication(self, request: Request) -> None:
        """Authenticate; an invalid token counts against the rate limit of the client's address."""
        try:
            super().perform_authentication(request)
        except exceptions.AuthenticationFailed:
            self.check_throttles(request)
            raise

    def permission_denied(self, request: Request, message: str | None = None, code: str | None = None) -> NoReturn:
        """Refuse; a refused request counts against the rate limit too."""
        self.check_throttles(request)
        super().permission_denied(request, message=message, code=code)


class _PassthroughRenderer(BaseRenderer):
    """Lets a client accept the media type of a file view; only errors are rendered, as JSON."""

    format = "file"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return JSONRenderer().render(data)


class FileView(ApiView):
    """Base of views that stream something other than JSON."""

    media_type = "*/*"

    def get_renderers(self) -> list[BaseRenderer]:
        """Accept JSON and the media type of this view."""
        own = _PassthroughRenderer()
        own.media_type = self.media_type
        return [JSONRenderer(), own]

    def handle_exception(self, exc: Exception) -> Response:
        """Answer errors in JSON, whatever the client accepts."""
        response = super().handle_exception(exc)
        self.request.accepted_renderer, self.request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return response

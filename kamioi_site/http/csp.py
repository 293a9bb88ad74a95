"""Content Security Policy: only our own scripts and styles run, even on a page with injected markup.

- Inline blocks carry the nonce of their request. The templates of the packages we use know no nonces, so the loaders
  here add one to their `<script>` and `<style>` tags when a template is loaded, before it has any data.
- The admin's Alpine.js evaluates expressions in attributes, which needs `unsafe-eval`, in the admin only.
- Two places where unfold writes style attributes are replaced, see below.
"""

import json
import re
from typing import Any, Final

from csp.constants import UNSAFE_EVAL
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template import Origin
from django.template.loaders import app_directories, filesystem
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

# Alpine sets a text as the style attribute, which the policy forbids, and an object property by property.
_STYLE_TEXT: Final = """x-bind:style="'width: ' + changeListWidth + 'px'\""""
_STYLE_OBJECT: Final = """x-bind:style="{ width: changeListWidth + 'px' }\""""
_INLINE: Final = re.compile(r"<(script|style)(?=[\s>])(?![^>]*\b(?:src|nonce)=)", re.IGNORECASE)
_POLICY_HEADERS: Final = ("Content-Security-Policy", "Content-Security-Policy-Report-Only")


def with_nonces(template: str) -> str:
    """Return the template with a nonce in every inline block."""
    return _INLINE.sub(r'<\1 nonce="{{ request.csp_nonce }}"', template).replace(_STYLE_TEXT, _STYLE_OBJECT)


def json_block(data: Any, encoder: type[json.JSONEncoder] | None) -> SafeString:
    """Render JSON in the admin, instead of unfold's version, which colours it with style attributes."""
    return format_html('<pre class="kamioi-json">{}</pre>', json.dumps(data, sort_keys=True, indent=2, cls=encoder))


class _NonceMixin:
    def get_contents(self, origin: Origin) -> str:
        return with_nonces(super().get_contents(origin))  # type: ignore[misc]


class FilesystemLoader(_NonceMixin, filesystem.Loader):
    """Loads the templates of `templates/`."""


class AppDirectoriesLoader(_NonceMixin, app_directories.Loader):
    """Loads the templates of installed packages."""


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """django-csp, with what the admin's scripts need."""

    _api_headers: dict[str, str] | None = None

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Add the policy; that of the API's JSON is always the same, so it is built once."""
        is_api_json = (
            request.path_info.startswith("/api/")
            and response.get("Content-Type") == "application/json"
            and response.status_code < 400
            and getattr(request, "_csp_nonce", None) is None
            and not any(name.startswith("_csp") for name in vars(response))  # django-csp's decorators
        )
        if is_api_json and self._api_headers is not None:
            for name, value in self._api_headers.items():
                response.headers.setdefault(name, value)
            return response
        response = super().process_response(request, response)
        if is_api_json:
            self._api_headers = {name: response[name] for name in _POLICY_HEADERS if name in response}
        return response

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Return the policy of this response."""
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(reverse("admin:index")):
            parts.update = {"script-src": [UNSAFE_EVAL], **(parts.update or {})}
        return parts

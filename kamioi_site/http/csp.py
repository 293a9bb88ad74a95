"""Content Security Policy: no script and no style runs that is not ours, also when a page says something it should not.

- A page's own inline blocks carry the nonce of their request. The templates of the packages we use know nothing of
  nonces, so the loaders here write it into their `<script>` and `<style>` tags while the template is read, before any
  data is in it.
- What unfold writes as style attributes is written otherwise: the two places are below.
- The admin's Alpine.js evaluates the expressions of its attributes, which needs `unsafe-eval`, there and nowhere else.
"""

import json
import re
from typing import Any

from csp.constants import UNSAFE_EVAL
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template import Origin
from django.template.loaders import app_directories, filesystem
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

# Alpine sets a text as the attribute, which the policy refuses, and an object's entries one by one, which it does not.
_BOUND_TEXT = """x-bind:style="'width: ' + changeListWidth + 'px'\""""
_BOUND_OBJECT = """x-bind:style="{ width: changeListWidth + 'px' }\""""
_ERRORS = 400
# What django-csp's decorators leave on an answer.
_OWN_POLICY = {
    "_csp_exempt",
    "_csp_exempt_ro",
    "_csp_config",
    "_csp_config_ro",
    "_csp_update",
    "_csp_update_ro",
    "_csp_replace",
    "_csp_replace_ro",
}
_INLINE = re.compile(r"<(script|style)(?=[\s>])(?![^>]*\b(?:src|nonce)=)", re.IGNORECASE)


def with_nonces(template: str) -> str:
    """The template with a nonce in each inline block."""
    return _INLINE.sub(r'<\1 nonce="{{ request.csp_nonce }}"', template).replace(_BOUND_TEXT, _BOUND_OBJECT)


def json_block(data: Any, encoder: type[json.JSONEncoder] | None) -> SafeString:
    """A JSON value on a page of the admin. unfold's own colours it with style attributes, where pygments is installed."""
    return format_html('<pre class="kamioi-json">{}</pre>', json.dumps(data, sort_keys=True, indent=2, cls=encoder))


class _NonceMixin:
    def get_contents(self, origin: Origin) -> str:
        """The template's text, with nonces."""
        return with_nonces(super().get_contents(origin))  # type: ignore[misc]


class FilesystemLoader(_NonceMixin, filesystem.Loader):
    """Templates of `templates/`."""


class AppDirectoriesLoader(_NonceMixin, app_directories.Loader):
    """Templates of the installed packages."""


class ContentSecurityPolicyMiddleware(CSPMiddleware):
    """django-csp's, which allows the admin what its scripts need."""

    _of_api: dict[str, str] | None = None

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """With its policy. That of the API's JSON is always the same one."""
        if (
            not request.path_info.startswith("/api/")
            or response.get("Content-Type") != "application/json"
            or response.status_code >= _ERRORS
            or getattr(request, "_csp_nonce", None) is not None
            or vars(response).keys() & _OWN_POLICY
        ):
            return super().process_response(request, response)
        if self._of_api is None:
            before = dict(response.items())
            response = super().process_response(request, response)
            self._of_api = {name: value for name, value in response.items() if name not in before}
            return response
        for name, value in self._of_api.items():
            response.headers.setdefault(name, value)
        return response

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """The policy of this answer."""
        parts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(reverse("admin:index")):
            parts.update = {"script-src": [UNSAFE_EVAL], **(parts.update or {})}
        return parts

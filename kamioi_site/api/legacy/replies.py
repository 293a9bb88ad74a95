"""Replies that need no data: what a page needs in order to render, and what is not done here. All are in one table."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rest_framework import status
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from kamioi_site.api.legacy.views import LegacyView, legacy_path
from kamioi_site.errors import error_body

ANYONE: Final = "anyone"
CUSTOMER: Final = "customer"


@dataclass(frozen=True, slots=True)
class FixedReply:
    """One method of one path."""

    method: str
    path: str  # below /api/
    who: str  # `anyone`, `customer`, or the permission that staff needs
    status: int
    body: Mapping[str, Any]
    reason: str


def _read_table() -> Iterator[FixedReply]:
    for row in json.loads((Path(__file__).parent / "replies.json").read_text()):
        text: str = row.get("refusal", "")
        code = status.HTTP_501_NOT_IMPLEMENTED if text else status.HTTP_200_OK
        # Some banners show `message`.
        body = error_body(text) | {"message": text} if text else {"success": True} | row["reply"]
        for place in row["paths"]:
            for method in row["methods"]:
                yield FixedReply(method, place, row["who"], code, body, row["reason"])


FIXED_REPLIES: Final = tuple(_read_table())


class FixedReplyView(LegacyView):
    """Answers with the table, to those whom it names for the method."""

    changes_nothing = True
    replies: Mapping[str, FixedReply] = {}

    def check_permissions(self, request: Request) -> None:
        user, who = request.user, self.get_reply(request).who
        allowed = user.is_authenticated and (who == CUSTOMER or (user.is_staff and user.has_perm(who)))
        if who != ANYONE and not allowed:
            self.permission_denied(request)

    def get_reply(self, request: Request) -> FixedReply:
        """Return the reply to the request's method; to one that is not served, any: it decides who learns of that."""
        return self.replies.get(request.method or "") or next(iter(self.replies.values()))

    def get(self, request: Request, **_: Any) -> Response:
        reply = self.get_reply(request)
        return Response(reply.body, status=reply.status)

    post = put = patch = delete = get

    def get_authenticators(self) -> list[BaseAuthentication]:
        """Return none where anyone may call: some pages send an old token, or one that they made up."""
        return [] if all(reply.who == ANYONE for reply in self.replies.values()) else super().get_authenticators()


_PLACES: Final[dict[str, dict[str, FixedReply]]] = defaultdict(dict)
for _reply in FIXED_REPLIES:
    _PLACES[_reply.path][_reply.method] = _reply
urlpatterns = [
    legacy_path(
        re.sub(r"{(\w+)}", r"<str:\1>", place),
        FixedReplyView.as_view(replies=replies, http_method_names=[method.lower() for method in replies]),
    )
    for place, replies in _PLACES.items()
]

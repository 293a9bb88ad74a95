"""The networks from which the admin and the staff API may be used."""

import ipaddress
from typing import Final

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin

from kamioi_site.errors import error_body

_STAFF_API: Final = ("/api/admin/", "/api/llm-data/")
_MESSAGE: Final = "This address is not available from your network."


def address_in(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Return whether the address is in one of the networks; False for an invalid address."""
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks)


class StaffIPAllowlistMiddleware(MiddlewareMixin):
    """Return 403 for the admin (its log-in page too) and the staff API outside `STAFF_NETWORKS`; empty allows all.

    The address is that of the peer. Behind a proxy, set uvicorn's `--forwarded-allow-ips`, or every caller has the
    address of the proxy.
    """

    def __init__(self, get_response: object) -> None:
        if not settings.STAFF_NETWORKS:
            raise MiddlewareNotUsed
        super().__init__(get_response)  # type: ignore[arg-type]
        self.guarded = (reverse("admin:index"), *_STAFF_API)

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Refuse a request from another network."""
        if not request.path_info.startswith(self.guarded) or address_in(
            request.META.get("REMOTE_ADDR", ""), settings.STAFF_NETWORKS
        ):
            return None
        if request.path_info.startswith("/api/"):
            return JsonResponse(error_body(_MESSAGE), status=403)
        return HttpResponseForbidden(_MESSAGE)

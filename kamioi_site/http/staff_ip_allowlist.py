"""From where the admin and the API of staff can be reached: anywhere, or only from the networks of the operator."""

import ipaddress

from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden, JsonResponse
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin

from kamioi_site.errors import error_body

_STAFF_API = ("/api/admin/", "/api/llm-data/")


def address_in(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """Whether the address is of one of the networks; what is no address is of none."""
    try:
        peer = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks)


class StaffIPAllowlistMiddleware(MiddlewareMixin):
    """403 for the admin and the API of staff from outside `STAFF_NETWORKS`, log-in page included; empty lets everybody in.

    The address is the server's view of the peer: behind a proxy, the server must be told whom to believe
    (uvicorn's `--forwarded-allow-ips`), or every caller has the proxy's.
    """

    def __init__(self, get_response: object) -> None:
        if not settings.STAFF_NETWORKS:
            raise MiddlewareNotUsed
        super().__init__(get_response)  # type: ignore[arg-type]
        self.guarded = (reverse("admin:index"), *_STAFF_API)

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Refuse before anything else is looked at."""
        if not request.path_info.startswith(self.guarded) or address_in(
            request.META.get("REMOTE_ADDR", ""), settings.STAFF_NETWORKS
        ):
            return None
        text = "This address cannot be reached from your network."
        if request.path_info.startswith("/api/"):
            return JsonResponse(error_body(text), status=403)
        return HttpResponseForbidden(text)

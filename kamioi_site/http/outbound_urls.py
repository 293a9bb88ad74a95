"""Validation of URLs that our servers call, so that no setting makes them call an internal service.

Callers never follow redirects. A host name that resolves to an internal address fails at https, because the internal
service has no certificate for it.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from kamioi_site.errors import KamioiError


class OutboundURLError(KamioiError):
    """The URL must not be called."""


def check_outbound_url(url: str, *, name: str, allow_http: bool = False) -> None:
    """Refuse a URL that must not receive keys and customers' data.

    Allowed are https, and http to this machine; neither with user name, query or fragment, nor to link-local and other
    special addresses, where clouds serve their credentials.

    Args:
        url: the URL.
        name: the setting that contains it, for the message.
        allow_http: allow http to other machines, such as a service in the same cluster.

    Raises:
        OutboundURLError: names the problem, but not the URL, which may contain a secret.
    """
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise OutboundURLError(f"{name} is not a valid URL.") from error
    if parts.scheme not in ("http", "https") or not host or url != url.strip():
        raise OutboundURLError(f"{name} must be an http or https URL.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise OutboundURLError(
            f"{name} must not contain a user name, query or fragment; the key is a separate setting."
        )
    address: IPv4Address | IPv6Address | None
    try:
        address = ip_address(host.split("%")[0])
    except ValueError:
        address = None
        # Resolvers accept 2852039166 and 0xA9FEA9FE as addresses.
        if re.fullmatch(r"(0x[0-9a-f]*|\d+)", host.rsplit(".", 1)[-1], re.IGNORECASE):
            raise OutboundURLError(f"{name} must use the usual notation of IP addresses.") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified):
        raise OutboundURLError(f"{name} must not be a link-local or other special address.")
    is_local = host == "localhost" or (address is not None and address.is_loopback)
    if parts.scheme == "http" and not (is_local or allow_http):
        setting = f"{name.split('_', maxsplit=1)[0]}_ALLOW_HTTP"
        raise OutboundURLError(f"{name} must be https, or http to this machine ({setting} allows others).")

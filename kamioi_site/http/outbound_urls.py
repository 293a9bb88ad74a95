"""Addresses that our servers call: checked when they are configured, so that no setting makes us call something inside.

Redirects are never followed by the callers, and a name that resolves to an inner address meets https, whose
certificate the inner service does not have.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from kamioi_site.errors import KamioiError


class OutboundURLError(KamioiError):
    """The address must not be called."""


def check_outbound_url(url: str, *, name: str, allow_http: bool = False) -> None:
    """Refuse an address that keys and customers' data should not be sent to.

    https, or http to this machine (elsewhere only where the operator allows it); no user name, query or fragment; no
    link-local or other special address, where clouds keep their credentials.

    Args:
        url: the address.
        name: of the setting that holds it, for the message.
        allow_http: http to other machines, such as a service in the same cluster.

    Raises:
        OutboundURLError: says what is wrong, without the address, which may hold a secret.
    """
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise OutboundURLError(f"{name} is no web address.") from error
    if parts.scheme not in ("http", "https") or not host or url != url.strip():
        raise OutboundURLError(f"{name} must be an http or https address.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise OutboundURLError(f"{name} must hold no user name, query or fragment; the key is a setting of its own.")
    address: IPv4Address | IPv6Address | None
    try:
        address = ip_address(host.split("%")[0])
    except ValueError:
        address = None
        # 2852039166 and 0xA9FEA9FE are addresses to a resolver.
        if re.fullmatch(r"(0x[0-9a-f]*|\d+)", host.rsplit(".", 1)[-1], re.IGNORECASE):
            raise OutboundURLError(f"{name} must write an IP address the usual way.") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address is not None and (address.is_link_local or address.is_multicast or address.is_unspecified):
        raise OutboundURLError(f"{name} must not be a link-local or other special address.")
    is_local = host == "localhost" or (address is not None and address.is_loopback)
    if parts.scheme == "http" and not (is_local or allow_http):
        raise OutboundURLError(
            f"{name} must be https, or http to this machine ({name.split('_', maxsplit=1)[0]}_ALLOW_HTTP allows others)."
        )

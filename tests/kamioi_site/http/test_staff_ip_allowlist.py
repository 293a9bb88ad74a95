"""The admin and the API of staff, from networks that may and from others."""

import ipaddress

import pytest

from kamioi_site.http.staff_ip_allowlist import StaffIPAllowlistMiddleware, address_in

NETWORKS = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("address", "within"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("", False),
        ("x", False),
    ],
)
def test_addresses(address, within):
    assert address_in(address, NETWORKS) is within


@pytest.mark.parametrize(
    ("path", "address", "code"),
    [
        ("/admin/login/", "192.0.2.1", 403),
        ("/api/admin/auth/login", "192.0.2.1", 403),
        ("/api/llm-data/system-status", "192.0.2.1", 403),
        ("/admin/login/", "10.0.0.1", None),
        ("/api/user/auth/me", "192.0.2.1", None),
        ("/healthz", "192.0.2.1", None),
    ],
)
def test_only_what_is_for_staff_is_closed_and_only_to_strangers(rf, settings, path, address, code):
    settings.STAFF_NETWORKS = NETWORKS
    reply = StaffIPAllowlistMiddleware(lambda request: None).process_request(rf.get(path, REMOTE_ADDR=address))
    assert (reply.status_code if reply else None) == code

"""Access to the admin and the staff API by network."""

import ipaddress

import pytest

from kamioi_site.http.staff_ip_allowlist import StaffIPAllowlistMiddleware, address_in

NETWORKS = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8::/32")]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("", False),
        ("x", False),
    ],
)
def test_whether_an_address_is_in_a_network(address, expected):
    assert address_in(address, NETWORKS) is expected


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
def test_only_staff_paths_are_refused_and_only_from_other_networks(rf, settings, path, address, code):
    settings.STAFF_NETWORKS = NETWORKS
    response = StaffIPAllowlistMiddleware(lambda request: None).process_request(rf.get(path, REMOTE_ADDR=address))
    assert (response.status_code if response else None) == code

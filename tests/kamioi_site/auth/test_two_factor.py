"""A second factor for staff: asked for everywhere, set up once, and with a way back."""

import base64
import re
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.core.checks import run_checks
from django.test import AsyncClient, Client
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from kamioi_site.auth.two_factor import InvalidOtpError, create_recovery_codes, verify_otp
from tests.factories import PASSWORD, api_client, make_staff, make_user
from transactions.models import User

pytestmark = pytest.mark.django_db

PAGE = "/admin/two-factor/"


def _code(device: TOTPDevice, *, drift: int = 0) -> str:
    generator = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift + drift)
    return f"{generator.token():06d}"


@pytest.fixture
def staff() -> User:
    return make_staff()


@pytest.fixture
def device(staff: User) -> TOTPDevice:
    found: TOTPDevice = TOTPDevice.objects.create(user=staff, name="authenticator")
    return found


@pytest.fixture
def browser(staff: User, client: Client) -> Client:
    """Past the password."""
    client.force_login(staff)
    return client


# --- Setting it up ----------------------------------------------------------------------------------------------
def test_staff_set_it_up_with_a_picture_and_get_recovery_codes(browser: Client, staff: User) -> None:
    reply = browser.get(PAGE)
    page = reply.content.decode()
    assert 'src="data:image/svg+xml' in page
    assert "no-store" in reply["Cache-Control"]
    device = TOTPDevice.objects.get(user=staff, confirmed=False)
    secret = re.search(r"Key: <code>(.*?)</code>", page)
    assert secret
    assert base64.b32decode(secret[1].replace(" ", "")) == device.bin_key
    assert browser.get("/admin/").status_code == 200  # nothing is asked for before it is set up
    assert "The code is wrong" in browser.post(PAGE, {"code": "000000"}).content.decode()
    device.refresh_from_db()
    device.throttle_reset()
    done = browser.post(PAGE, {"code": _code(device)}).content.decode()
    codes = re.findall(r"<li><code>(\w{8})</code></li>", done)
    assert len(codes) == 10
    assert set(StaticToken.objects.values_list("token", flat=True)) == set(codes)
    assert browser.get("/admin/").status_code == 200  # this session has shown it
    assert LogEntry.objects.filter(user=staff, change_message="Two-factor was set up.").exists()


def test_the_secret_is_not_compressed_beside_what_a_caller_sends(browser: Client) -> None:
    assert not browser.get(PAGE, HTTP_ACCEPT_ENCODING="gzip, br").has_header("Content-Encoding")


# --- Nothing before the code ------------------------------------------------------------------------------------
@pytest.mark.usefixtures("device")
def test_a_session_without_the_code_may_do_nothing(browser: Client) -> None:
    for address in ("/admin/", "/admin/cache/", "/admin/transactions/user/"):
        reply = browser.get(address)
        assert reply.status_code == 302
        assert reply["Location"].startswith(PAGE)
    reply = browser.get("/api/admin/auth/me")
    assert reply.status_code == 403
    assert reply.json()["success"] is False
    page = browser.get(PAGE).content.decode()
    assert "Two-factor authentication" in page
    assert "data:image/svg" not in page  # nobody sets up another one instead


@pytest.mark.usefixtures("device")
def test_it_holds_under_asgi_too(staff: User) -> None:
    browser = AsyncClient()
    browser.force_login(staff)
    reply = async_to_sync(browser.get)("/admin/", headers={"accept-encoding": "br"})
    assert reply["Location"].startswith(PAGE)
    TOTPDevice.objects.all().delete()
    reply = async_to_sync(browser.get)("/admin/", headers={"accept-encoding": "br"})
    assert (reply.status_code, reply["Content-Encoding"]) == (200, "br")


def test_the_code_opens_the_session_and_leads_on(browser: Client, device: TOTPDevice) -> None:
    before = browser.session.session_key
    reply = browser.post(PAGE, {"code": _code(device), "next": "/admin/cache/"})
    assert (reply.status_code, reply["Location"]) == (302, "/admin/cache/")
    assert browser.session.session_key != before
    assert browser.get("/admin/cache/").status_code == 200
    assert browser.get("/api/admin/auth/me").status_code == 200


def test_the_way_on_leads_nowhere_else(browser: Client, device: TOTPDevice) -> None:
    reply = browser.post(PAGE, {"code": _code(device), "next": "https://elsewhere.example/"})
    assert reply["Location"] == "/admin/"


def test_a_code_works_once_and_wrong_ones_make_the_next_wait(staff: User, device: TOTPDevice) -> None:
    code = _code(device)
    verify_otp(user=staff, code=code)
    with pytest.raises(InvalidOtpError):
        verify_otp(user=staff, code=code)
    with pytest.raises(InvalidOtpError):  # a right one, but too soon after the wrong one
        verify_otp(user=staff, code=_code(device, drift=1))


@pytest.mark.usefixtures("device")
def test_a_recovery_code_works_once(browser: Client, staff: User) -> None:
    code = create_recovery_codes(user=staff)[0]
    assert browser.post(PAGE, {"code": code.upper()}).status_code == 302
    assert browser.get("/admin/").status_code == 200
    with pytest.raises(InvalidOtpError):
        verify_otp(user=staff, code=code)


def test_a_code_of_somebody_else_is_wrong(device: TOTPDevice) -> None:
    with pytest.raises(InvalidOtpError):
        verify_otp(user=make_staff(), code=_code(device))


# --- Looking after it -------------------------------------------------------------------------------------------
def test_it_is_turned_off_with_a_code_only(browser: Client, staff: User, device: TOTPDevice) -> None:
    recovery = create_recovery_codes(user=staff)
    browser.post(PAGE, {"code": _code(device)})
    browser.post(PAGE, {"action": "off", "code": "zzzzzzzz"})
    assert TOTPDevice.objects.filter(user=staff).exists()
    StaticDevice.objects.get(user=staff).throttle_reset()
    browser.post(PAGE, {"action": "off", "code": recovery[0]})
    assert not TOTPDevice.objects.filter(user=staff).exists()
    assert browser.get("/admin/").status_code == 200


def test_an_administrator_removes_the_device_of_somebody_who_lost_it(
    client: Client, staff: User, device: TOTPDevice
) -> None:
    create_recovery_codes(user=staff)
    client.force_login(make_staff())
    page = client.get(reverse("admin:otp_totp_totpdevice_changelist")).content.decode()
    assert staff.email in page
    assert device.key not in client.get(reverse("admin:otp_totp_totpdevice_change", args=[device.pk])).content.decode()
    client.post(reverse("admin:otp_totp_totpdevice_delete", args=[device.pk]), {"post": "yes"})
    assert not TOTPDevice.objects.exists()
    assert not StaticToken.objects.exists()


# --- The API ----------------------------------------------------------------------------------------------------
def _log_in(user: User, area: str = "admin", **body: Any) -> Any:
    body = {"email": user.email, "password": PASSWORD} | body
    return api_client().post(f"/api/{area}/auth/login", body, format="json")


@pytest.mark.parametrize("area", ["admin", "user"])
def test_the_api_asks_staff_for_the_code_in_every_area(staff: User, device: TOTPDevice, area: str) -> None:
    reply = _log_in(staff, area)
    assert reply.status_code == 401
    assert reply.json()["errors"] == {"otp": ["A code of your authenticator app is needed."]}
    assert _log_in(staff, area, otp="abcdefgh").status_code == 401
    reply = _log_in(staff, area, otp=_code(device))
    assert reply.status_code == 200
    caller = api_client()
    caller.credentials(HTTP_AUTHORIZATION=f"Bearer {reply.json()['token']}")
    assert caller.get("/api/admin/auth/me").status_code == 200


def test_a_wrong_password_is_told_nothing_of_a_second_factor(staff: User, device: TOTPDevice) -> None:
    reply = _log_in(staff, password="wrong", otp=_code(device))
    assert reply.status_code == 401
    assert "errors" not in reply.json()


def test_customers_need_no_code() -> None:
    assert _log_in(make_user(), "user").status_code == 200


# --- Required ---------------------------------------------------------------------------------------------------
def test_where_it_is_required_staff_can_only_set_it_up(settings: Settings, browser: Client, staff: User) -> None:
    settings.STAFF_OTP_REQUIRED = True
    assert browser.get("/admin/")["Location"].startswith(PAGE)
    assert "Until it is set up" in browser.get(PAGE).content.decode()
    reply = _log_in(staff)
    assert reply.status_code == 403
    assert "set it up" in reply.json()["error"]
    assert _log_in(make_user(), "user").status_code == 200


def test_a_check_warns_where_it_is_not_required(settings: Settings) -> None:
    def warned() -> bool:
        return "kamioi.W001" in {found.id for found in run_checks(include_deployment_checks=True, tags=["security"])}

    assert warned()
    settings.STAFF_OTP_REQUIRED = True
    assert not warned()

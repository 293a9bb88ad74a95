"""Two-factor authentication of staff."""

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
    created: TOTPDevice = TOTPDevice.objects.create(user=staff, name="authenticator")
    return created


@pytest.fixture
def browser(staff: User, client: Client) -> Client:
    """Return a client that has logged in with the password."""
    client.force_login(staff)
    return client


# --- Set-up -----------------------------------------------------------------------------------------------------
def test_staff_set_it_up_with_a_qr_code_and_get_recovery_codes(browser: Client, staff: User) -> None:
    response = browser.get(PAGE)
    page = response.content.decode()
    assert 'src="data:image/svg+xml' in page
    assert "no-store" in response["Cache-Control"]
    device = TOTPDevice.objects.get(user=staff, confirmed=False)
    secret = re.search(r"Key: <code>(.*?)</code>", page)
    assert secret
    assert base64.b32decode(secret[1].replace(" ", "")) == device.bin_key
    assert browser.get("/admin/").status_code == 200  # no code is needed before the set-up
    assert "The code is wrong" in browser.post(PAGE, {"code": "000000"}).content.decode()
    device.refresh_from_db()
    device.throttle_reset()
    done = browser.post(PAGE, {"code": _code(device)}).content.decode()
    codes = re.findall(r"<li><code>(\w{8})</code></li>", done)
    assert len(codes) == 10
    assert set(StaticToken.objects.values_list("token", flat=True)) == set(codes)
    assert browser.get("/admin/").status_code == 200  # this session is verified
    assert LogEntry.objects.filter(user=staff, change_message="Two-factor was set up.").exists()


def test_the_page_with_the_secret_is_not_compressed(browser: Client) -> None:
    assert not browser.get(PAGE, HTTP_ACCEPT_ENCODING="gzip, br").has_header("Content-Encoding")


# --- Unverified sessions -----------------------------------------------------------------------------------------
@pytest.mark.usefixtures("device")
def test_a_session_without_the_code_is_refused_everywhere(browser: Client) -> None:
    for address in ("/admin/", "/admin/cache/", "/admin/transactions/user/"):
        response = browser.get(address)
        assert response.status_code == 302
        assert response["Location"].startswith(PAGE)
    response = browser.get("/api/admin/auth/me")
    assert response.status_code == 403
    assert response.json()["success"] is False
    page = browser.get(PAGE).content.decode()
    assert "Two-factor authentication" in page
    assert "data:image/svg" not in page  # a second device cannot be set up instead


@pytest.mark.usefixtures("device")
def test_the_middleware_works_under_asgi(staff: User) -> None:
    browser = AsyncClient()
    browser.force_login(staff)
    response = async_to_sync(browser.get)("/admin/", headers={"accept-encoding": "br"})
    assert response["Location"].startswith(PAGE)
    TOTPDevice.objects.all().delete()
    response = async_to_sync(browser.get)("/admin/", headers={"accept-encoding": "br"})
    assert (response.status_code, response["Content-Encoding"]) == (200, "br")


def test_the_code_verifies_the_session_and_redirects(browser: Client, device: TOTPDevice) -> None:
    before = browser.session.session_key
    response = browser.post(PAGE, {"code": _code(device), "next": "/admin/cache/"})
    assert (response.status_code, response["Location"]) == (302, "/admin/cache/")
    assert browser.session.session_key != before
    assert browser.get("/admin/cache/").status_code == 200
    assert browser.get("/api/admin/auth/me").status_code == 200


def test_the_redirect_stays_on_this_site(browser: Client, device: TOTPDevice) -> None:
    response = browser.post(PAGE, {"code": _code(device), "next": "https://elsewhere.example/"})
    assert response["Location"] == "/admin/"


def test_a_code_works_once_and_a_wrong_one_delays_the_next(staff: User, device: TOTPDevice) -> None:
    code = _code(device)
    verify_otp(user=staff, code=code)
    with pytest.raises(InvalidOtpError):
        verify_otp(user=staff, code=code)
    with pytest.raises(InvalidOtpError):  # correct, but too soon after a wrong one
        verify_otp(user=staff, code=_code(device, drift=1))


@pytest.mark.usefixtures("device")
def test_a_recovery_code_works_once(browser: Client, staff: User) -> None:
    code = create_recovery_codes(user=staff)[0]
    browser.force_login(staff)  # new codes end sessions
    assert browser.post(PAGE, {"code": code.upper()}).status_code == 302
    assert browser.get("/admin/").status_code == 200
    with pytest.raises(InvalidOtpError):
        verify_otp(user=staff, code=code)


def test_a_code_of_another_user_is_wrong(device: TOTPDevice) -> None:
    with pytest.raises(InvalidOtpError):
        verify_otp(user=make_staff(), code=_code(device))


# --- Management -------------------------------------------------------------------------------------------------
def test_turning_it_off_needs_a_code(browser: Client, staff: User, device: TOTPDevice) -> None:
    recovery = create_recovery_codes(user=staff)
    browser.force_login(staff)  # new codes end sessions
    browser.post(PAGE, {"code": _code(device)})
    browser.post(PAGE, {"action": "off", "code": "zzzzzzzz"})
    assert TOTPDevice.objects.filter(user=staff).exists()
    StaticDevice.objects.get(user=staff).throttle_reset()
    browser.post(PAGE, {"action": "off", "code": recovery[0]})
    assert not TOTPDevice.objects.filter(user=staff).exists()
    assert browser.get("/admin/").status_code == 200


def test_an_administrator_removes_a_lost_device(client: Client, staff: User, device: TOTPDevice) -> None:
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
def test_the_api_requires_the_code_of_staff_in_every_area(staff: User, device: TOTPDevice, area: str) -> None:
    response = _log_in(staff, area)
    assert response.status_code == 401
    assert response.json()["errors"] == {"otp": ["Enter the code from your authenticator app."]}
    assert _log_in(staff, area, otp="abcdefgh").status_code == 401
    response = _log_in(staff, area, otp=_code(device))
    assert response.status_code == 200
    caller = api_client()
    caller.credentials(HTTP_AUTHORIZATION=f"Bearer {response.json()['token']}")
    assert caller.get("/api/admin/auth/me").status_code == 200


def test_a_wrong_password_reveals_nothing_about_a_second_factor(staff: User, device: TOTPDevice) -> None:
    response = _log_in(staff, password="wrong", otp=_code(device))
    assert response.status_code == 401
    assert "errors" not in response.json()


def test_customers_need_no_code() -> None:
    assert _log_in(make_user(), "user").status_code == 200


# --- Required ---------------------------------------------------------------------------------------------------
def test_if_required_staff_must_set_it_up_first(settings: Settings, browser: Client, staff: User) -> None:
    settings.STAFF_OTP_REQUIRED = True
    assert browser.get("/admin/")["Location"].startswith(PAGE)
    assert "Set it up to continue" in browser.get(PAGE).content.decode()
    response = _log_in(staff)
    assert response.status_code == 403
    assert "set it up" in response.json()["error"]
    assert _log_in(make_user(), "user").status_code == 200


def test_a_check_warns_if_it_is_not_required(settings: Settings) -> None:
    def has_warning() -> bool:
        return "kamioi.W001" in {
            message.id for message in run_checks(include_deployment_checks=True, tags=["security"])
        }

    assert has_warning()
    settings.STAFF_OTP_REQUIRED = True
    assert not has_warning()

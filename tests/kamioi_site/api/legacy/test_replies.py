"""The table of fixed replies: who gets which, and that nothing else serves their paths."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.urls import resolve
from pytest_django import Settings

from kamioi_site.api.legacy.replies import ANYONE, CUSTOMER, FIXED_REPLIES, FixedReply, FixedReplyView
from tests.factories import api_client, make_user
from transactions.models import User

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_rates(settings: Settings) -> None:
    settings.API_RATES = {scope: [] for scope in settings.API_RATES}


def _url(reply: FixedReply) -> str:
    return "/api/" + re.sub(r"{\w+}", "7", reply.path)


def _send(reply: FixedReply, user: User | None) -> Any:
    return getattr(api_client(user), reply.method.lower())(_url(reply), {}, "json")


def test_every_reply_is_only_for_those_whom_the_table_names(subtests: Any) -> None:
    customer, clerk, reader = make_user(), make_user(is_staff=True), make_user(is_staff=True)
    permissions = {reply.who.partition(".")[2] for reply in FIXED_REPLIES} - {""}
    reader.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    for reply in FIXED_REPLIES:
        for user in (None, customer, clerk, reader):
            allowed = (
                reply.who == ANYONE
                or (reply.who == CUSTOMER and user is not None)
                or (reply.who not in {ANYONE, CUSTOMER} and user is reader)
            )
            with subtests.test(f"{reply.method} {reply.path}", user=user):
                response = _send(reply, user)
                refused = 403 if user else 401
                assert response.status_code == (reply.status if allowed else refused)
                assert not allowed or response.json() == reply.body


def test_a_token_that_a_page_made_up_does_not_matter_where_anyone_may_call() -> None:
    client = api_client()
    client.credentials(HTTP_AUTHORIZATION="Bearer made-up")
    assert client.get("/api/user/subscriptions/plans").status_code == 200
    assert client.get("/api/user/rewards").status_code == 401


def test_refusals_have_a_sentence_where_banners_look() -> None:
    refusals = [reply.body for reply in FIXED_REPLIES if reply.status == 501]
    assert refusals
    for body in refusals:
        assert not body["success"]
        assert body["error"] == body["message"]
        assert body["error"].endswith(".")


def test_no_other_route_serves_a_path_of_the_table_and_other_methods_are_405() -> None:
    for reply in FIXED_REPLIES:
        view: Any = resolve(_url(reply)).func
        assert view.view_class is FixedReplyView
    assert api_client(make_user()).patch("/api/user/rewards", {}, "json").status_code == 405

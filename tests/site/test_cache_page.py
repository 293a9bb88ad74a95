"""The admin's page of the cache."""

from collections.abc import Iterator

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from kamioi_site.cache import namespaces
from kamioi_site.cache.namespaces import CacheNamespace, namespace_sizes
from tests.factories import make_staff, make_user

pytestmark = pytest.mark.django_db

THING = CacheNamespace("test:thing:{number}", ttl=60, generation="test:things")
OTHER = CacheNamespace("test:thing:{number}:{page}", ttl=60)


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    namespaces._after_fork()
    yield
    namespaces._after_fork()


@pytest.fixture
def operator(client: Client) -> Client:
    person = make_user(is_staff=True)
    person.groups.add(Group.objects.get(name="operator"))
    client.force_login(person)
    return client


def _asked_again(family: CacheNamespace, **parts: object) -> bool:
    asked = []
    family.get(lambda: asked.append(1), **parts)
    return bool(asked)


def test_an_operator_sees_families_with_keys_memory_and_hit_rate(operator: Client) -> None:
    for number in range(3):
        assert _asked_again(THING, number=number)
        assert not _asked_again(THING, number=number)
    OTHER.get(lambda: "x" * 5000, number=1, page=2)
    sizes = namespace_sizes()
    assert (sizes[THING.template].keys, sizes[OTHER.template].keys) == (3, 1)
    assert sizes[OTHER.template].bytes > 5000
    page = operator.get(reverse("admin-cache")).content.decode()
    assert "test:thing:{number}" in page
    assert "50.0 %" in page
    assert "llm:queue:count" in page


def test_one_family_is_cleared_after_a_confirmation_and_the_audit_trail_says_so(operator: Client) -> None:
    _asked_again(THING, number=1)
    _asked_again(OTHER, number=1, page=1)
    asked = operator.get(reverse("admin-cache"), {"clear": THING.template})
    assert "Clear <code>test:thing:{number}</code>?" in asked.content.decode()
    assert not _asked_again(THING, number=1)  # only asked so far
    reply = operator.post(reverse("admin-cache"), {"family": THING.template}, follow=True)
    assert "is void" in reply.content.decode()
    assert _asked_again(THING, number=1)
    assert not _asked_again(OTHER, number=1, page=1)
    assert LogEntry.objects.get().object_repr == "cache test:thing:{number}"


def test_everything_is_cleared(operator: Client) -> None:
    _asked_again(THING, number=1)
    _asked_again(OTHER, number=1, page=1)
    operator.post(reverse("admin-cache"), {"family": "all"})
    assert _asked_again(THING, number=1)
    assert _asked_again(OTHER, number=1, page=1)


def test_a_family_that_is_not_there_is_refused(operator: Client) -> None:
    assert operator.get(reverse("admin-cache"), {"clear": "nothing"}).status_code == 400
    assert operator.post(reverse("admin-cache"), {"family": "nothing"}).status_code == 400


def test_it_is_not_for_everybody(client: Client) -> None:
    client.force_login(make_user(is_staff=True))
    assert client.get(reverse("admin-cache")).status_code == 403
    assert client.post(reverse("admin-cache"), {"family": "all"}).status_code == 403
    client.force_login(make_user())
    assert client.get(reverse("admin-cache")).status_code == 302


def test_the_page_says_so_when_redis_is_away(client: Client, settings: Settings) -> None:
    client.force_login(make_staff())
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    assert "Redis does not answer" in client.get(reverse("admin-cache")).content.decode()

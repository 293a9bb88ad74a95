"""The cache page of the admin."""

from collections.abc import Iterator

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from kamioi_site.cache import namespaces
from kamioi_site.cache.counters import reset_counts
from kamioi_site.cache.namespaces import CacheNamespace
from kamioi_site.cache.statistics import namespace_sizes
from tests.factories import make_staff, make_user

pytestmark = pytest.mark.django_db

THING = CacheNamespace("test:thing:{number}", ttl=60, generation="test:things")
OTHER = CacheNamespace("test:thing:{number}:{page}", ttl=60)


@pytest.fixture(autouse=True)
def _fresh_process() -> Iterator[None]:
    namespaces.reset_process_state()
    reset_counts()
    yield
    namespaces.reset_process_state()
    reset_counts()


@pytest.fixture
def operator(client: Client) -> Client:
    user = make_user(is_staff=True)
    user.groups.add(Group.objects.get(name="operator"))
    client.force_login(user)
    return client


def _is_computed(namespace: CacheNamespace, **parts: object) -> bool:
    calls = []
    namespace.get(lambda: calls.append(1), **parts)
    return bool(calls)


def test_an_operator_sees_namespaces_with_keys_memory_and_hit_rate(operator: Client) -> None:
    for number in range(3):
        assert _is_computed(THING, number=number)
        assert not _is_computed(THING, number=number)
    OTHER.get(lambda: "x" * 5000, number=1, page=2)
    sizes = namespace_sizes()
    assert (sizes[THING.template].keys, sizes[OTHER.template].keys) == (3, 1)
    assert sizes[OTHER.template].bytes > 5000
    page = operator.get(reverse("admin-cache")).content.decode()
    assert "test:thing:{number}" in page
    assert "50.0%" in page
    assert "llm:queue:count" in page


def test_a_namespace_is_cleared_after_confirmation_and_logged(operator: Client) -> None:
    _is_computed(THING, number=1)
    _is_computed(OTHER, number=1, page=1)
    confirmation = operator.get(reverse("admin-cache"), {"clear": THING.template})
    assert "Clear <code>test:thing:{number}</code>?" in confirmation.content.decode()
    assert not _is_computed(THING, number=1)  # not confirmed yet
    reply = operator.post(reverse("admin-cache"), {"namespace": THING.template}, follow=True)
    assert "cleared" in reply.content.decode()
    assert _is_computed(THING, number=1)
    assert not _is_computed(OTHER, number=1, page=1)
    assert LogEntry.objects.get().object_repr == "cache test:thing:{number}"


def test_the_whole_cache_is_cleared(operator: Client) -> None:
    _is_computed(THING, number=1)
    _is_computed(OTHER, number=1, page=1)
    operator.post(reverse("admin-cache"), {"namespace": "all"})
    assert _is_computed(THING, number=1)
    assert _is_computed(OTHER, number=1, page=1)


def test_an_unknown_namespace_is_rejected(operator: Client) -> None:
    assert operator.get(reverse("admin-cache"), {"clear": "nothing"}).status_code == 400
    assert operator.post(reverse("admin-cache"), {"namespace": "nothing"}).status_code == 400


def test_the_page_needs_permission(client: Client) -> None:
    client.force_login(make_user(is_staff=True))
    assert client.get(reverse("admin-cache")).status_code == 403
    assert client.post(reverse("admin-cache"), {"namespace": "all"}).status_code == 403
    client.force_login(make_user())
    assert client.get(reverse("admin-cache")).status_code == 302


def test_the_page_shows_an_error_when_redis_is_down(client: Client, settings: Settings) -> None:
    client.force_login(make_staff())
    settings.CACHES = {"default": settings.CACHES["default"] | {"LOCATION": "redis://127.0.0.1:1/0"}}
    assert "Redis does not answer" in client.get(reverse("admin-cache")).content.decode()

"""Who sees a background task and the rejected rows of a bank file: the owner, and staff who may view such data."""

from inspect import signature

import pytest
from celery import current_app
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse

from tests.factories import api_client, make_user
from transactions.models import BackgroundTask, StatementImport, StatementReject, User
from transactions.models.background_tasks import VIEW_PERMISSIONS

pytestmark = pytest.mark.django_db


def _grant(user: User, *permissions: str) -> User:
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return User.objects.get(pk=user.pk)  # without cached permissions


def _staff(*permissions: str) -> User:
    return _grant(make_user(is_staff=True), *permissions)


def _browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def statement() -> StatementImport:
    customer = make_user()
    task = BackgroundTask.objects.create(name="ingest_statement", user=customer, status="completed")
    statement = StatementImport.objects.create(task=task, user=customer, filename="may.csv", file="may.csv")
    StatementReject.objects.create(statement=statement, row_number=3, field="amount", reason="no amount", raw="SHOP")
    return statement


def test_every_kind_of_task_has_a_permission() -> None:
    current_app.loader.import_default_modules()
    # Celery tasks that take the id of a background task, or are given the task by `claim_first`.
    tasks = {name: task for name, task in current_app.tasks.items() if not name.startswith("celery.")}
    kinds = {name for name, task in tasks.items() if {"task_id", "task"} & set(signature(task.run).parameters)}
    assert kinds == set(VIEW_PERMISSIONS)
    for permission in VIEW_PERMISSIONS.values():
        _staff(permission)  # which exists


@pytest.mark.parametrize("name", VIEW_PERMISSIONS)
def test_a_task_is_seen_by_its_owner_and_by_staff_with_the_permission_of_its_kind(name: str) -> None:
    owner = make_user()
    task = BackgroundTask.objects.create(name=name, user=owner, status="completed")
    others = {VIEW_PERMISSIONS[other] for other in VIEW_PERMISSIONS} - {VIEW_PERMISSIONS[name]}
    for user, status in (
        (owner, 200),
        (_staff(VIEW_PERMISSIONS[name]), 200),
        (_staff(*others), 404),
        (_staff(), 404),
        (_grant(make_user(), VIEW_PERMISSIONS[name]), 404),
    ):
        for path in (f"/api/tasks/{task.pk}", f"/api/tasks/{task.pk}/events"):
            response = api_client(user).get(path)
            assert response.status_code == status
            if response.streaming:
                response.getvalue()  # reads to the end, which closes it


def test_the_admin_shows_a_task_to_the_same_staff(statement: StatementImport) -> None:
    page = reverse("admin:transactions_backgroundtask_change", args=[statement.task_id])
    permissions = "transactions.view_backgroundtask", "transactions.view_statementimport"
    assert _browser(_staff(*permissions)).get(page).status_code == 200
    assert _browser(_staff(permissions[0])).get(page).status_code == 403


def test_rejected_rows_need_their_own_permission(statement: StatementImport) -> None:
    importer = "transactions.view_statementimport"
    api, page = (
        f"/api/tasks/{statement.task_id}/rejects",
        reverse("admin:transactions_statementimport_rejects", args=[statement.pk]),
    )
    assert b"SHOP" in api_client(statement.user).get(api).getvalue()
    for permissions, statuses in (
        ((), (404, 403)),
        ((importer,), (403, 403)),
        ((importer, "transactions.view_statementreject"), (200, 200)),
    ):
        staff = _staff(*permissions)
        responses = api_client(staff).get(api), _browser(staff).get(page)
        assert tuple(response.status_code for response in responses) == statuses


def test_staff_who_uploaded_a_file_for_a_customer_need_the_permission_for_its_rejected_rows(
    statement: StatementImport,
) -> None:
    clerk = _staff()
    BackgroundTask.objects.update(user=clerk)
    assert api_client(clerk).get(f"/api/tasks/{statement.task_id}").status_code == 200
    assert api_client(clerk).get(f"/api/tasks/{statement.task_id}/rejects").status_code == 403

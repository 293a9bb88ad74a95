"""The state of the system."""

import pytest

from analytics.selectors import operations

pytestmark = pytest.mark.django_db


def test_waiting_messages_are_counted_in_the_broker():
    from celery import current_app

    assert {queue.name: queue.waiting for queue in operations.queue_statuses()}["bulk"] == 0
    for priority in (0, 6, 9):
        current_app.send_task("unknown", queue="bulk", priority=priority, ignore_result=True)
    depths = {queue.name: queue.waiting for queue in operations.queue_statuses()}
    assert depths == {"ai": 0, "transactions": 0, "analytics": 0, "notifications": 0, "bulk": 3}

"""Tasks about personal data."""

from celery import shared_task

from transactions.services.privacy import run_erasure, run_export


@shared_task(name="export_person", time_limit=3600, soft_time_limit=3540)
def export_person(task_id: str) -> None:
    run_export(task_id=task_id)


@shared_task(name="erase_person", time_limit=3600, soft_time_limit=3540)
def erase_person(task_id: str) -> None:
    run_erasure(task_id=task_id)

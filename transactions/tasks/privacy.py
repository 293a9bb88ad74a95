"""Tasks about what is held of a person."""

from celery import shared_task

from transactions.services.privacy import run_erasure, run_export


@shared_task(name="export_person", time_limit=3600, soft_time_limit=3540)
def export_person(task_id: str) -> None:
    """Write the file of everything held about a person."""
    run_export(task_id=task_id)


@shared_task(name="erase_person", time_limit=3600, soft_time_limit=3540)
def erase_person(task_id: str) -> None:
    """Take out everything that tells who a person is."""
    run_erasure(task_id=task_id)

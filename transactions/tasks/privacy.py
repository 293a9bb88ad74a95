"""Tasks about what is held of a person."""

from celery import shared_task

from transactions.services.privacy import erase_run, export_run


@shared_task(name="export_person", time_limit=3600, soft_time_limit=3540)
def export_person(task_id: str) -> None:
    """Write the file of everything held about a person."""
    export_run(task_id=task_id)


@shared_task(name="erase_person", time_limit=3600, soft_time_limit=3540)
def erase_person(task_id: str) -> None:
    """Take out everything that tells who a person is."""
    erase_run(task_id=task_id)

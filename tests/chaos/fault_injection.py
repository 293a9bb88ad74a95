"""A worker with two additional tasks: one always raises, one always kills its process."""

import os
import signal

from kamioi_site.celery import app

app.conf.task_queues = None  # the worker creates the queue of these tasks

__all__ = ["app"]


@app.task(name="chaos.raises")
def raises() -> None:
    """Fail always."""
    raise ValueError("poison")


@app.task(name="chaos.dies")
def dies(path: str) -> None:
    """Record the run and die as if killed by the kernel for lack of memory."""
    with open(path, "a") as deaths:
        deaths.write("x")
    os.kill(os.getpid(), signal.SIGKILL)

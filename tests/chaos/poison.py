"""A worker of the product that knows two tasks more: one that always raises, one that always takes its process with it."""

import os
import signal

from kamioi_site.celery import app

app.conf.task_queues = None  # the queue of these tasks is made by the worker that asks for it

__all__ = ["app"]


@app.task(name="chaos.raises")
def raises() -> None:
    """Never succeeds."""
    raise ValueError("poison")


@app.task(name="chaos.dies")
def dies(path: str) -> None:
    """Says that it ran, and dies as from the kernel's memory killer."""
    with open(path, "a") as deaths:
        deaths.write("x")
    os.kill(os.getpid(), signal.SIGKILL)

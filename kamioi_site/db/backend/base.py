"""The base of the database engine: a connection pool that survives forks. django-postgres-extra goes on top of it.

A forked child shares its parent's sockets: two processes would read each other's results without an error. So the
child forgets the pools and connections it inherited and opens its own. It keeps references to the inherited ones:
letting go of them would roll them back or close them, over the socket that the parent is using.
"""

import os
import threading
from typing import Any

from dj_db_conn_pool.backends.postgresql.base import DatabaseWrapper
from dj_db_conn_pool.core import pool_container
from django.db import connections

__all__ = ["DatabaseWrapper"]

_inherited: list[Any] = []


def _forget_after_fork() -> None:
    _inherited.append(dict(pool_container))
    pool_container.clear()
    pool_container.lock = threading.Lock()  # another thread of the parent may have held it
    for wrapper in connections.all(initialized_only=True):
        _inherited.append(wrapper.connection)
        wrapper.connection = None
        wrapper.in_atomic_block = False
        wrapper.savepoint_ids = []
        wrapper.run_on_commit = []


os.register_at_fork(after_in_child=_forget_after_fork)

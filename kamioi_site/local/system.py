"""Users, files, ports and processes of the machine that runs the embedded servers."""

import contextlib
import os
import pwd
import random
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

from kamioi_site.errors import KamioiError

# The system user that the servers run as when root starts them: PostgreSQL refuses to run as root.
SERVER_USER = "pgserver"
_SMALL_SHARED_MEMORY = 512 * 1024**2  # bytes


class EmbeddedServerError(KamioiError):
    """An embedded server could not be started or stopped."""


def server_owner() -> pwd.struct_passwd | None:
    """Return the user that servers started by root run as; None for other users, who run them as themselves."""
    if os.geteuid() != 0:
        return None
    for _attempt in range(20):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(SERVER_USER)
        # Two processes may create the user at the same time; one of them finds /etc/passwd locked.
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--user-group", "--shell", "/bin/false", SERVER_USER],  # noqa: S607
            check=False,
            capture_output=True,
        )
        time.sleep(0.1)
    raise EmbeddedServerError(
        f"PostgreSQL does not run as root, and useradd could not create the system user {SERVER_USER}."
    )


def as_user(owner: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments with which Popen drops to the user."""
    return {} if owner is None else {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def private_directory(directory: Path, owner: pwd.struct_passwd | None) -> None:
    """Create a directory that only the servers' user can enter: it guards the socket, which asks for no password."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    allowed = {os.geteuid(), os.geteuid() if owner is None else owner.pw_uid}
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in allowed:
        raise EmbeddedServerError(f"{directory} belongs to another user.")
    if owner is not None:
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    directory.chmod(0o700)


def grant_traverse(path: Path, owner: pwd.struct_passwd | None) -> None:
    """Let the servers' user pass through root's directories to this one, without listing them."""
    if owner is None:
        return
    for directory in (path, *path.parents):
        status = directory.stat()
        if not status.st_mode & stat.S_IXOTH and status.st_uid != owner.pw_uid:
            directory.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)


def grant_read_execute(package: Path, owner: pwd.struct_passwd | None) -> None:
    """Let the servers' user read and run files that pip installed under a strict umask."""
    if owner is None:
        return
    grant_traverse(package, owner)
    for path in package.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        # Copy the owner's read and execute bits to others.
        shared = mode | (mode & (stat.S_IRUSR | stat.S_IXUSR)) >> 6
        if shared != mode:
            path.chmod(shared)


def write_private(path: Path, text: str, owner: pwd.struct_passwd | None = None) -> None:
    """Replace a file atomically; only its owner and root can read it."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    if owner is not None:
        os.chown(new, owner.pw_uid, owner.pw_gid)
    new.rename(path)


def plain_environment() -> dict[str, str]:
    """Return an environment without the caller's locale and PG* variables."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def command_line(pid: int) -> str:
    """Return the process's command line; empty when there is no such process, or only a zombie."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


def port_is_free(port: int) -> bool:
    """Whether a server can bind this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port of 127.0.0.1, below the range from which outgoing connections take theirs.

    A port of that range could be taken by any connection before the server binds it.
    """
    while not port_is_free(port := random.randrange(20_000, 32_000)):
        pass
    return port


def has_small_shared_memory() -> bool:
    """Whether /dev/shm is too small for parallel queries; containers often get 64 MB."""
    try:
        return shutil.disk_usage("/dev/shm").total < _SMALL_SHARED_MEMORY  # noqa: S108
    except OSError:
        return True

#!/usr/bin/env python3
"""Run a management command. Starts the embedded servers first if no server is given and the command may need one."""

import gc
import os
import sys

# Help needs settings but no server.
_SERVERLESS = {"help", "version", "--help", "-h", "--version"}


def main() -> int:
    """Run the command line; returns the exit code."""
    gc.disable()  # imports create no garbage; `KamioiSiteConfig.ready` turns it on again
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kamioi_site.settings.dev")
    try:
        from django.core.management import execute_from_command_line

        from kamioi_site.local import embedded_servers, system
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "kamioi_site":
            raise
        print(
            f"{sys.executable} has no {error.name}. Run `make install`, then `.venv/bin/python manage.py …` "
            "(or activate the environment: `. .venv/bin/activate`).",
            file=sys.stderr,
        )
        return 1
    try:
        if len(sys.argv) < 2 or _SERVERLESS & set(sys.argv[1:]):
            embedded_servers.name_servers()
        else:
            embedded_servers.ensure_servers()
    except system.EmbeddedServerError as error:
        print(error, file=sys.stderr)
        return 1
    execute_from_command_line(sys.argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())

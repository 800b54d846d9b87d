#!/usr/bin/env python
"""Django's command line for this project."""

import os
import sys


def main() -> None:
    """Run a command. Report invalid settings, and stop on Ctrl+C, without a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import DatabaseError

    from collections_app.system import database

    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Error: {error}")
    except DatabaseError as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"Error: the database can't be used ({database.reason(error)}). {database.advice(error)}")
    except KeyboardInterrupt:
        sys.exit(130)  # a shell's exit code for Ctrl+C


if __name__ == "__main__":
    main()

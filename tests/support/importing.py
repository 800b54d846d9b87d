"""Import the same pages repeatedly, and print a line for each import. Tests of the scaled-out site kill this.

python -m tests.support.importing COLLECTION PAUSE FILE...
"""

import io
import re
import sys
import time

import django
from django.core.management import CommandError, call_command
from django.db import connections


def main() -> None:
    """Import until killed. Print "completed 7" once the command has reported run 7 as complete."""
    collection, pause, *files = sys.argv[1:]
    while True:
        said = io.StringIO()
        try:
            call_command("import_run", collection, *files, stdout=said)
        except CommandError as error:
            print("failed", error, flush=True)
        else:
            (number,) = re.findall(r"^Run (\d+) of", said.getvalue())
            print("completed", number, flush=True)
        connections.close_all()
        time.sleep(float(pause))


if __name__ == "__main__":
    django.setup()
    main()

"""Change a server's data during a test, with Python code as in `manage.py shell`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import tools
from tests.support.server import environment

Shell = Callable[[str], str]

# Setting up Django takes half a second, so one process does it once and forks for each piece of code.
_FORK_FOR_EACH = """
import contextlib, io, json, os, sys, traceback
import collections_app.records.exports.build, collections_app.runs.removal, collections_app.runs.writer

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # for all other output
for line in sys.stdin:
    if os.fork() == 0:
        printed, error = io.StringIO(), None
        try:
            with contextlib.redirect_stdout(printed):
                exec(json.loads(line), {})
        except BaseException:
            error = traceback.format_exc()
        print(json.dumps([printed.getvalue(), error]), file=answers, flush=True)
        os._exit(0)
    os.wait()
"""


@contextmanager
def running(data_dir: Path) -> Iterator[Shell]:
    """Run code on a server's data and return what it prints; an exception fails the test."""
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--command", _FORK_FOR_EACH]
    with tools.start(
        *command, env=environment(data_dir), stdin=tools.PIPE, stdout=tools.PIPE, text=True
    ) as process:

        def run(code: str) -> str:
            assert process.stdin
            assert process.stdout
            process.stdin.write(json.dumps(code) + "\n")
            process.stdin.flush()
            printed, error = json.loads(process.stdout.readline())
            assert error is None, error
            return str(printed)

        yield run

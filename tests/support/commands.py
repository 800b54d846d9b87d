"""Run management commands in separate processes that start quickly.

Importing Django and the site's other packages takes half a second. So each test process starts a server, this
file as a program, which imports them once and forks for each command.
"""

import atexit
import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from functools import cache
from importlib import import_module
from pathlib import Path

from tests.support import tools
from tests.support.tools import Done

# The slowest imports that don't need the settings.
_BEFOREHAND = [
    "cryptography.fernet",
    "csp.constants",
    "django.contrib.auth.hashers",
    "django.core.cache",
    "django.core.handlers.wsgi",
    "django.core.management.commands.shell",
    "django.core.management.commands.migrate",
    "django.db.backends.postgresql.base",
    "django.db.backends.sqlite3.base",
    "django.db.migrations.executor",
    "django.db.models",
    "django.forms",
    "django.http",
    "django.template.loader",
    "django.views.generic",
    "environ",
    "http.client",
    "msgspec",
    "psycopg_pool",
    "requests",
    "sqlparse",
    "structlog",
    "tqdm",
    "whitenoise.middleware",
]
_one_at_a_time = threading.Lock()


def run(arguments: list[str], env: dict[str, str]) -> Done:
    """Run a management command, and return its exit code and output."""
    with tempfile.TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        status = _status(arguments, env, str(output), str(errors))
        return Done(arguments, status, output.read_text(), errors.read_text())


def _status(arguments: list[str], env: dict[str, str], output: str, errors: str) -> int:
    """Run a management command that writes to two new files. Return its exit code, as `Popen` does."""
    with _one_at_a_time:
        parent = _parent()
        assert parent.stdin
        assert parent.stdout
        parent.stdin.write(json.dumps([arguments, env, output, errors]) + "\n")
        parent.stdin.flush()
        return int(parent.stdout.readline())


@cache
def _parent() -> tools.Process:
    """Return the process that forks for each command. Start it on first use."""
    parent = tools.start(
        *(sys.executable, "-m", "tests.support.commands"), stdin=tools.PIPE, stdout=tools.PIPE, text=True
    )
    atexit.register(parent.communicate)  # it ends with its input
    return parent


def _serve() -> None:
    """Run the command on each line of the input, and print its exit code."""
    for module in _BEFOREHAND:
        import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.alarm(tools.PATIENCE)
            _become(*json.loads(line))
            return
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(arguments: list[str], env: dict[str, str], output: str, errors: str) -> None:
    """Become manage.py with this environment."""
    sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115
    for path, descriptor in ((output, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), descriptor)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["manage.py", *arguments]
    import_module("manage").main()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        _serve()

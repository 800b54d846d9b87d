"""Update the database and serve the site."""

import contextlib
import errno
import os
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader

from collections_app.demo import build
from collections_app.management.upgrade import update_database
from collections_app.models import Team, User
from collections_app.system import database
from collections_app.system.observability.processes import has_orphans

# Workers notice within a second that their master process is gone, or later on a busy machine.
ORPHANS_STOP_WITHIN_SECONDS = 15
POLL_SECONDS = 0.1


class Command(BaseCommand):
    """Prepares the data folder and replaces itself with gunicorn."""

    help = (
        "Update the database, clean up after interrupted runs, and serve the site with gunicorn. The "
        "environment variables HOST and PORT set where it listens."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument(
            "--demo",
            action="store_true",
            help="fill an empty database with the demo or add its runs since then, and print how to sign in",
        )

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        """Check and prepare everything, print the address, and become gunicorn."""
        host, port = settings.HOST, settings.PORT
        self._wait_for_port(host, port)
        _check_static_files()
        # Machines that share a database are often started at the same time.
        with _data_errors_as_messages(), database.exclusive_lock():
            self._say("Updating the database")
            _check_database_version()
            update_database(self._say)
            call_command("repair_runs", verbosity=0, stdout=self.stdout)
            if demo:
                self._prepare_demo()
        self._say_where(host, port, demo=demo)
        self._say("Press Ctrl+C to stop.")
        sys.stderr.flush()
        os.chdir(settings.BASE_DIR)
        # gunicorn reads this variable too, and rejects an empty value.
        os.environ["WEB_CONCURRENCY"] = str(settings.WEB_CONCURRENCY)
        os.execv(  # noqa: S606  # no shell is wanted
            sys.executable,
            [sys.executable, "-m", "gunicorn", "--config", "dashboard/gunicorn_conf.py", "dashboard.wsgi"],
        )

    def _wait_for_port(self, host: str, port: int) -> None:
        """Wait for the workers of a killed server. Raises CommandError if another program uses the port."""
        if has_orphans(port) and not _is_free(host, port):
            self._say(f"Waiting for port {port}. Its server was killed, and its workers are still stopping.")
            _wait_for_orphans(host, port)
        _check_port(host, port)

    def _prepare_demo(self) -> None:
        """Create the demo in an empty database, or add the runs since the last start to it."""
        if build.can_build():
            self._say("Creating the demo")
        elif build.sign_in() and build.count_missing():
            self._say("Adding the demo's runs since the last start")
        else:
            return
        call_command("demo", verbosity=0)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        sys.stdout.flush()  # a file or pipe would buffer it during the next step

    def _say_where(self, host: str, port: int, *, demo: bool) -> None:
        self.stdout.write(f"Address: {settings.PUBLIC_URL or f'http://{_in_url(host)}:{port}'}/")
        account = build.sign_in() if demo else None
        if account:
            self.stdout.write(
                f"Email: {account.email}\nPassword: {account.password}\nAPI key: {account.api_key}"
            )
        elif not (User.objects.exists() or Team.objects.exists()):
            self.stdout.write(
                "No one can sign in yet. Create the first team and its owner with: "
                f"DATA_DIR={shlex.quote(str(settings.DATA_DIR))} {shlex.quote(sys.executable)} manage.py "
                'create_team "My team" --owner me@example.com'
            )


def _try_to_listen(host: str, port: int) -> None:
    """Raise OSError if gunicorn couldn't listen on this host and port."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        # gunicorn sets this too, so that connections that have just ended don't block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def _wait_for_orphans(host: str, port: int) -> None:
    until = time.monotonic() + ORPHANS_STOP_WITHIN_SECONDS
    while not _is_free(host, port) and has_orphans(port) and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def _is_free(host: str, port: int) -> bool:
    with contextlib.suppress(OSError):
        _try_to_listen(host, port)
        return True
    return False


def _check_port(host: str, port: int) -> None:
    """Raise CommandError if gunicorn couldn't listen on this host and port."""
    try:
        _try_to_listen(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = (
                f"Port {port} is used by another program. Stop it, or choose another port: PORT={port + 1}."
            )
        else:
            reason = f"Can't listen on {host}, port {port} ({error.strerror}). Change HOST or PORT."
        raise CommandError(reason) from None


@contextlib.contextmanager
def _data_errors_as_messages() -> Iterator[None]:
    """Turn errors of the database and the data folder into CommandErrors."""
    try:
        yield
    except DatabaseError as error:
        # For SQLite, the advice is to run this command.
        advice = f" {database.advice(error)}" if connection.vendor == "postgresql" else ""
        problem = f"{database.describe()} can't be used: {database.reason(error)}."
        raise CommandError(problem + advice) from error
    except OSError as error:
        path = error.filename or settings.DATA_DIR
        raise CommandError(f"The data folder can't be used: {path}: {error.strerror}.") from error


def _check_database_version() -> None:
    if database.is_newer(MigrationLoader(connection)):
        raise CommandError(database.NEWER)


def _check_static_files() -> None:
    """Raise CommandError if the static files are missing; every page would fail without them."""
    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        raise CommandError(
            f"The static files are missing. Run: {sys.executable} manage.py collectstatic --noinput"
        )


def _in_url(host: str) -> str:
    # A server that listens on all addresses also listens on localhost.
    if host in {"0.0.0.0", "::"}:  # noqa: S104
        return "localhost"
    return f"[{host}]" if ":" in host else host

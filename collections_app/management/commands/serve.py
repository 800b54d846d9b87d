"""Bring the data up to date and serve the site."""

import errno
import io
import os
import socket
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from collections_app.demo import build
from collections_app.models import Team, User
from collections_app.result_sets.repair import repair_runs

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
_LARGEST_PORT = 65535


class Command(BaseCommand):
    """Everything between a fresh data folder and a running site."""

    help = (
        "Bring the database up to date, clean up after interrupted runs, and serve the site by gunicorn. "
        f"HOST (default {DEFAULT_HOST}) and PORT (default {DEFAULT_PORT}) come from the environment."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take --demo."""
        parser.add_argument(
            "--demo",
            action="store_true",
            help="fill an empty database with the demo, and print the account to sign in with",
        )

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        """Check, prepare, print where the site is, and become gunicorn."""
        host, port = os.environ.get("HOST") or DEFAULT_HOST, _port()
        _check_that_it_is_free(host, port)
        _check_static_files()
        _bring_up_to_date()
        repair_runs()
        if demo and build.has_room():
            call_command("demo", stdout=io.StringIO())
        self._say_where(host, port, demo=demo)
        sys.stdout.flush()
        sys.stderr.flush()
        os.chdir(settings.BASE_DIR)
        os.execv(  # noqa: S606  # no shell is wanted
            sys.executable,
            [sys.executable, "-m", "gunicorn", "--config", "dashboard/gunicorn_conf.py", "dashboard.wsgi"],
        )

    def _say_where(self, host: str, port: int, *, demo: bool) -> None:
        self.stdout.write(f"Address: {settings.PUBLIC_URL or f'http://{_in_url(host)}:{port}'}/")
        account = build.account() if demo else None
        if account:
            self.stdout.write(
                f"E-mail: {account.email}\nPassword: {account.password}\nAPI key: {account.api_key}"
            )
        elif not (User.objects.exists() or Team.objects.exists()):
            self.stdout.write(
                "Nobody can sign in yet. Make the first team and its owner with: "
                'python manage.py create_team "My team" --owner me@example.com'
            )


def _port() -> int:
    text = os.environ.get("PORT") or str(DEFAULT_PORT)
    if not text.isdecimal() or not 0 < int(text) <= _LARGEST_PORT:
        raise CommandError(f"PORT is {text!r}; it must be a number from 1 to {_LARGEST_PORT}.")
    return int(text)


def _check_that_it_is_free(host: str, port: int) -> None:
    """Raise CommandError where gunicorn couldn't listen on this host and port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As gunicorn does: connections that have just ended don't count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = (
                f"Port {port} is taken by another program. Stop it, or choose another one: PORT={port + 1}."
            )
        else:
            reason = (
                f"Can't listen on port {port} of {host} ({error.strerror}). Choose others with HOST and PORT."
            )
        raise CommandError(reason) from None


def _bring_up_to_date() -> None:
    try:
        call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
    except OperationalError as error:
        raise CommandError(f"The database in {settings.DATA_DIR} can't be used: {error}.") from None


def _check_static_files() -> None:
    """Raise CommandError where every page would fail for want of the style sheet."""
    if not (Path(settings.STATIC_ROOT) / "staticfiles.json").exists():
        raise CommandError("The static files are missing. Run: python manage.py collectstatic --noinput")


def _in_url(host: str) -> str:
    # Listening on every address means: also on this machine's own.
    if host in {"0.0.0.0", "::"}:  # noqa: S104
        return "localhost"
    return f"[{host}]" if ":" in host else host

"""`work`: what goes on in the background."""

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from collections_app.management.worker import Exporter, Mailer, Worker

# So much more willing to wait for a processor than whoever answers people.
_NICENESS = 10
# How long to wait for the current export to return to the queue, and for the current mail to be sent.
_STOPS_WITHIN_SECONDS = 5.0


class Command(BaseCommand):
    """Works until it is ended."""

    help = (
        "Do the site's background work until stopped: make large exports, send mail, list the runs of "
        "connected collections every few minutes, copy results that are to be kept here, and fail runs whose "
        "writer was killed. The site does this automatically; run this command if you don't start it with "
        "serve. You can run several workers at once and stop them at any time."
    )

    # They are made below, as they ask other machines, and not again for the site's own worker.
    requires_system_checks: list[str] = []  # as Django types it

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe the command line."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="do what is due now and end, with 1 where some of it failed; such as for cron",
        )
        parser.add_argument(
            "--skip-checks", action="store_true", help="begin without looking at the settings"
        )
        parser.add_argument(
            "--with-parent",
            action="store_true",
            help="end when the standard input does; so the site starts it",
        )

    def handle(self, *args: Any, once: bool, with_parent: bool, skip_checks: bool, **options: Any) -> None:
        """Work; SIGTERM and Ctrl-C end it at once, since what is interrupted goes on the next time."""
        if not (with_parent or skip_checks):  # the site has been checked when it started
            self.check(databases=[DEFAULT_DB_ALIAS])
        has_failed = False
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            if with_parent:
                os.nice(_NICENESS)
                threading.Thread(target=_end_with_the_input, daemon=True).start()
            with suppress(KeyboardInterrupt):
                has_failed = _work(once=once)
        finally:
            signal.signal(signal.SIGTERM, before)
        if has_failed and not with_parent:
            raise CommandError(
                "Some of the work failed; what was logged says why. The next time it is tried again."
            )


def _work(*, once: bool) -> bool:
    """Do what is due, or all there ever is. Returns whether some of it failed."""
    if once:
        worker = Worker(Mailer(), Exporter())
        while worker.round():
            pass
        return worker.has_failed
    threads = {
        task: threading.Thread(target=task.go_on, name=type(task).__name__.lower(), daemon=True)
        for task in (Exporter(remote=False), Exporter(remote=True), Mailer())
    }
    for thread in threads.values():
        thread.start()
    try:
        Worker().go_on()
    finally:
        for task in threads:
            task.over.set()
        for thread in threads.values():
            thread.join(_STOPS_WITHIN_SECONDS)
    return False


def _end_with_the_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

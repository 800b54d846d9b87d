"""`work`: what goes on in the background."""

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from collections_app.management.worker import Exporter, Worker

# So much more willing to wait for a processor than whoever answers people.
_NICENESS = 10


class Command(BaseCommand):
    """Works until it is ended."""

    help = (
        "Work in the background until ended: make the large exports that somebody asked for, list the runs "
        "of connected collections every few minutes, copy the results of those that are to be kept here, and "
        "fail runs whose writer was killed. The site does this by itself; call it where the site is served "
        "in another way. Several at once do no harm, and it can be ended at any moment."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Describe the command line."""
        parser.add_argument(
            "--once", action="store_true", help="do what is due now and end; such as for cron"
        )
        parser.add_argument(
            "--with-parent",
            action="store_true",
            help="end when the standard input does; so the site starts it",
        )

    def handle(self, *args: Any, once: bool, with_parent: bool, **options: Any) -> None:
        """Work; SIGTERM and Ctrl-C end it at once, since what is interrupted goes on the next time."""
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            if with_parent:
                os.nice(_NICENESS)
                threading.Thread(target=_end_with_the_input, daemon=True).start()
            with suppress(KeyboardInterrupt):
                _work(once=once)
        finally:
            signal.signal(signal.SIGTERM, before)


def _work(*, once: bool) -> None:
    if once:
        worker = Worker(Exporter())
        while worker.round():
            pass
        return
    over = threading.Event()
    threading.Thread(target=Exporter().go_on, args=[over], name="exports", daemon=True).start()
    try:
        Worker().go_on()
    finally:
        over.set()


def _end_with_the_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

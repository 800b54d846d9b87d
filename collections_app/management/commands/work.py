"""Do the site's background work."""

import os
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS

from collections_app.management.stopping import until_stopped
from collections_app.management.worker import (
    Announcer,
    BlockBuilder,
    ComparisonBuilder,
    Exporter,
    Judge,
    Mailer,
    Measurer,
    Repairer,
    Sender,
    Slicer,
    Worker,
)

# Background work yields the CPU to requests.
_NICENESS = 10
# How long to wait for the current export to return to the queue, and for the current mail to be sent.
_STOP_SECONDS = 5.0


class Command(BaseCommand):
    """Runs the background worker."""

    help = (
        "Do the site's background work until stopped: create large exports, compare runs, send mail and "
        "notifications, list the runs of connected collections every few minutes, copy results that should "
        "be kept, and fail runs whose writer was killed. The site does this automatically; run this command "
        "only if you don't start the site with serve. You can run several workers at once and stop them at "
        "any time."
    )

    # handle() runs the checks, which call other machines, except for the site's own worker.
    requires_system_checks: list[str] = []  # as Django types it

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="do what is due now and exit, with 1 if something failed; for cron",
        )
        parser.add_argument("--skip-checks", action="store_true", help="start without checking the settings")
        parser.add_argument(
            "--with-parent",
            action="store_true",
            help="exit when standard input ends; used by the site",
        )

    def handle(self, *args: Any, once: bool, with_parent: bool, skip_checks: bool, **options: Any) -> None:
        """Work until SIGTERM or Ctrl+C. Interrupted work continues the next time."""
        if not (with_parent or skip_checks):  # the site has been checked at startup
            self.check(databases=[DEFAULT_DB_ALIAS])
        has_failed = False
        with until_stopped(with_parent=with_parent):
            if with_parent:
                os.nice(_NICENESS)
            has_failed = _work(once=once)
        if has_failed and not with_parent:
            raise CommandError("Some of the work failed; the log says why. It will be retried the next time.")


def _work(*, once: bool) -> bool:
    """Do what is due once, or work forever. Return whether something failed."""
    if once:
        worker = Worker(
            *(
                Announcer(),
                Sender(has_threads=False),
                Mailer(),
                Exporter(),
                Measurer(),
                Slicer(gives_way=True),
                ComparisonBuilder(),
                BlockBuilder(),
                Judge(),
            )
        )
        while worker.run_once():
            pass
        return worker.has_failed
    # One of each for accounts, which may be slow.
    tasks = (
        *(Exporter(remote=False), Exporter(remote=True), Slicer(remote=False), Slicer(remote=True)),
        *(ComparisonBuilder(has_slices=True), ComparisonBuilder(has_slices=False)),
        *(Announcer(), BlockBuilder(), Judge(), Mailer(), Sender(), Measurer(), Repairer()),
    )
    threads = {
        task: threading.Thread(target=task.run_forever, name=type(task).__name__.lower(), daemon=True)
        for task in tasks
    }
    for thread in threads.values():
        thread.start()
    try:
        Worker().run_forever()
    finally:
        for task in threads:
            task.stop.set()
        for thread in threads.values():
            thread.join(_STOP_SECONDS)
    return False

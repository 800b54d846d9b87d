"""Update the database, and report each step: with a million runs, a step can take minutes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.core.management.commands import migrate
from django.db import connection
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

# How often to report that a step is still running.
REPORT_SECONDS = 10.0

Say = Callable[[str], None]


def update_database(say: Say) -> None:
    """Apply the migrations that are missing. Report the steps, unless the database is empty."""
    executor = MigrationExecutor(connection)
    steps = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    is_empty = not executor.loader.applied_migrations
    report = _nothing if is_empty else say
    with _still_running(report) as step:
        command = Migrate(step, steps)
        call_command(command, interactive=False, verbosity=0, skip_checks=False)
    call_command("createcachetable", verbosity=0)


class Step:
    """The step that is running, for reports from two threads."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._text, self._started_at = "", 0.0

    def start(self, text: str) -> None:
        """Report the next step."""
        self._text, self._started_at = text, time.monotonic()
        self._say(text)

    def end(self) -> None:
        """Note that the step has ended."""
        self._text = ""

    def report(self) -> None:
        """Report the step again, with its duration so far."""
        if text := self._text:
            self._say(f"{text}: running for {time.monotonic() - self._started_at:.0f} s")


class Migrate(migrate.Command):
    """Django's `migrate`, which also reports each step."""

    def __init__(self, step: Step, steps: int) -> None:
        super().__init__()
        self._step, self._steps, self._count = step, steps, 0

    def migration_progress_callback(
        self,
        action: str,
        migration: Migration | None = None,
        fake: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Report the start of each migration."""
        if action == "apply_start" and migration is not None:
            self._count += 1
            self._step.start(f"Updating the database, step {self._count} of {self._steps} ({migration.name})")
        elif action == "apply_success":
            self._step.end()


@contextmanager
def _still_running(say: Say) -> Iterator[Step]:
    """Report every few seconds that a step is still running, from a thread: SQLite lets threads run."""
    step, ended = Step(say), threading.Event()

    def watch() -> None:
        while not ended.wait(REPORT_SECONDS):
            step.report()

    thread = threading.Thread(target=watch, name="upgrade", daemon=True)
    thread.start()
    try:
        yield step
    finally:
        ended.set()
        thread.join()


def _nothing(text: str) -> None:
    """Report nothing."""

"""Write runs in real time, so that people can watch their progress."""

import fcntl
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from collections_app.demo.content import ROBOT_VACUUMS
from collections_app.demo.history import BEGIN
from collections_app.demo.products import Shop
from collections_app.demo.schedule import DAY, PER_RECORD, Outcome, PlannedRun
from collections_app.models import Collection, Run
from collections_app.runs.lease import RunIsBeingWritten
from collections_app.runs.removal import delete_run
from collections_app.runs.writer import ResultSetWriter

SECONDS_BETWEEN_RUNS = 15
# Keep this many of the written runs, and delete older ones.
KEPT_RUNS = 50


class CannotWrite(Exception):
    """No runs can be written. The message is for people."""


def write_runs() -> Iterator[Run]:
    """Write one run after another, each in about 40 seconds. Yield each run once it is completed.

    A run that is interrupted by an exception is deleted. Raises CannotWrite if another process writes these
    runs, or if the collection was archived or deleted.
    """
    shop = Shop(ROBOT_VACUUMS)
    written: deque[Run] = deque()
    with _alone():
        while True:
            run = _write_run(_collection(), shop)
            written.append(run)
            if len(written) > KEPT_RUNS:
                with suppress(RunIsBeingWritten):
                    delete_run(written.popleft())
            yield run
            time.sleep(SECONDS_BETWEEN_RUNS)


def _write_run(collection: Collection, shop: Shop) -> Run:
    story = shop.story
    with ResultSetWriter.start(collection, total=story.records, page_size=story.page_size) as writer:
        for record in shop.records(_planned(writer.run)):
            time.sleep(PER_RECORD.total_seconds())
            writer.add_record(record)
    return writer.run


def _planned(run: Run) -> PlannedRun:
    # The offers change as if each run were on another night.
    night, now, story = BEGIN + run.number * DAY, run.created_at, ROBOT_VACUUMS
    return PlannedRun(night, now, now, now, story.records, story.page_size, Outcome())


def _collection() -> Collection:
    collection = Collection.objects.current().filter(pk=ROBOT_VACUUMS.id, account=None).first()
    if collection is None:
        raise CannotWrite(f"The demo's collection {ROBOT_VACUUMS.name} was archived or deleted.")
    return collection


@contextmanager
def _alone() -> Iterator[None]:
    with (Path(settings.DATA_DIR) / "demo-live.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotWrite("Another process is already writing the demo's runs.") from None
        yield

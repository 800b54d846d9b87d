"""What has to be done time and again without anybody asking: the rounds of the `work` command."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import DatabaseError, close_old_connections, connections
from django.utils import timezone
from structlog.contextvars import clear_contextvars

from collections_app import outbox
from collections_app.models import Collection, Run, State
from collections_app.people.passwords import compose_mail
from collections_app.records.exports import retention
from collections_app.records.exports.build import Queue, build_next
from collections_app.runs.lease import RunIsBeingWritten, WriterLost
from collections_app.runs.mirror import mirror_run
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.sources import SourceBusy, SourceUnavailable, rows
from collections_app.sources.account import AccountSource
from collections_app.system import database

logger = logging.getLogger(__name__)

ROUND_SECONDS = 5.0
# Someone is watching the progress of an export, or waiting for a mail.
TASK_SECONDS = 1.0
TIDY_SECONDS = 600.0
# How old rows become before they are brought up to date; earlier where a run is Processing.
REFRESH_AFTER = timedelta(minutes=5)
REFRESH_SOON_AFTER = timedelta(minutes=1)
LIST_SECONDS = 60.0

# What fails is left alone for this long, for twice as long the next time, and so on.
_FIRST_PAUSE_SECONDS = 60.0
_FIRST_PAUSE_OF_A_RUN_SECONDS = 300.0
_LONGEST_PAUSE_SECONDS = 3600.0


class Pauses:
    """Which things are left alone for now because they failed."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, int], int] = {}
        self._until: dict[tuple[str, int], float] = {}

    def failed(self, what: str, pk: int, *, first_pause: float = _FIRST_PAUSE_SECONDS) -> None:
        """Leave it alone for a time, in seconds at first, and for longer each time."""
        failures = self._failures[what, pk] = self._failures.get((what, pk), 0) + 1
        pause = min(first_pause * 2 ** min(failures - 1, 10), _LONGEST_PAUSE_SECONDS)
        self.leave_alone(what, pk, pause)

    def leave_alone(self, what: str, pk: int, seconds: float) -> None:
        """Leave it alone for this many seconds, whether or not it failed."""
        self._until[what, pk] = time.monotonic() + seconds

    def worked(self, what: str, pk: int) -> None:
        """Forget that it ever failed."""
        self._failures.pop((what, pk), None)
        self._until.pop((what, pk), None)

    def now(self, what: str) -> set[int]:
        """Return the keys of what is left alone now."""
        now = time.monotonic()
        return {pk for (kind, pk), until in self._until.items() if kind == what and now < until}


class Worker:
    """Does what is due, by what stands in the tables. Several of them may work beside each other.

    It also does the tasks that it is given. Other workers do tasks that aren't given to this one.
    """

    def __init__(self, *tasks: "BackgroundTask") -> None:
        self._pauses = Pauses()
        self._tasks = tasks
        self._tidied_at = float("-inf")
        self.has_failed = False  # anything, so far

    def go_on(self) -> None:
        """Work until the process is ended. Nothing that fails ends it."""
        while True:
            if not self.round():
                close_old_connections()  # a database that went away is found again
                time.sleep(ROUND_SECONDS)

    def round(self) -> bool:
        """Do what is due, of each collection at most one run. Returns whether there may be more at once."""
        with _nothing_ends_it():
            done_tasks = [task.round() for task in self._tasks]
            clear_contextvars()
            fail_interrupted_runs()
            for collection in self._due():
                self._carefully("refresh", collection, self._refresh)
            # Each in its turn: a collection of a thousand runs doesn't keep the others waiting.
            done = [self._carefully("keep", collection, self._keep) for collection in self._keeping()]
            self._tidy_exports()
            return any(done_tasks + done)
        self.has_failed = True
        return False

    def _tidy_exports(self) -> None:
        if time.monotonic() - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            retention.tidy()

    def _due(self) -> list[Collection]:
        """Return the connected collections whose rows are too old."""
        now = timezone.now()
        # By the index of the runs that nobody here writes.
        processing = Run.objects.filter(state=State.PROCESSING, lease_expires_at=None)
        soon = set(processing.values_list("collection", flat=True).distinct())

        def is_due(collection: Collection) -> bool:
            tried_at = collection.refresh_tried_at
            after = REFRESH_SOON_AFTER if collection.pk in soon else REFRESH_AFTER
            # A time to come is from before the clock was put back.
            is_old = tried_at is None or not timedelta(0) <= now - tried_at < after
            return is_old and collection.retry_after is None

        paused = self._pauses.now("refresh")
        return [each for each in _connected() if each.pk not in paused and is_due(each)]

    def _keeping(self) -> list[Collection]:
        """Return the connected collections that are copied."""
        paused = self._pauses.now("keep")
        return [each for each in _connected() if each.keeps_results and each.pk not in paused]

    def _carefully(self, what: str, collection: Collection, work: Callable[[Collection], bool]) -> bool:
        """Work for a collection. What fails is logged, and the collection left alone for a time."""
        clear_contextvars()
        if collection.account_id in self._pauses.now("account"):
            return False
        try:
            return work(collection)
        except SourceBusy as error:
            self._failed(what, collection, str(error), error.retry_after)
        except (SourceUnavailable, OSError) as error:
            self._failed(what, collection, str(error))
        except DatabaseError:
            raise
        except Exception:
            logger.exception("work %s collection=%s problem=unexpected", what, collection.pk)
            self.has_failed = True
            self._pauses.failed(what, collection.pk)
        return False

    def _failed(
        self, what: str, collection: Collection, problem: str, retry_after: int | None = None
    ) -> None:
        logger.warning(
            "work %s account=%s collection=%s problem=%s",
            *(what, collection.account_id, collection.pk, problem),
        )
        self.has_failed = True
        self._pauses.failed(what, collection.pk)
        if retry_after is not None and collection.account_id is not None:
            self._pauses.leave_alone("account", collection.account_id, retry_after)

    def _refresh(self, collection: Collection) -> bool:
        tried_at = collection.refresh_tried_at
        mine = Collection.objects.filter(pk=collection.pk, refresh_tried_at=tried_at)
        if mine.update(refresh_tried_at=timezone.now()):
            rows.refresh(collection, seconds=LIST_SECONDS)
            self._note_how_it_went("refresh", collection)
        return True

    def _note_how_it_went(self, what: str, collection: Collection) -> bool:
        collection.refresh_from_db()
        if collection.refresh_problem:
            self._failed(what, collection, collection.refresh_problem, collection.retry_after)
            return False
        self._pauses.worked(what, collection.pk)
        return True

    def _keep(self, collection: Collection) -> bool:
        """Bring the next older runs or, where all are known, copy the oldest one that isn't kept."""
        if collection.has_older_runs and collection.pk not in self._pauses.now("reach back"):
            rows.load_older(collection, seconds=LIST_SECONDS)
            return self._note_how_it_went("reach back", collection)
        paused = self._pauses.now("run")
        run = collection.runs.to_keep().exclude(pk__in=paused).select_related("collection__account").first()
        return run is not None and self._copy(run)

    def _copy(self, run: Run) -> bool:
        try:
            problems = mirror_run(run, AccountSource())
            self.has_failed |= bool(problems)
        except (RunIsBeingWritten, WriterLost) as error:
            problems = [str(error)]  # it is in good hands
        except (SourceUnavailable, OSError):
            # That may be about this run alone: after its collection's pause another one comes first.
            self._pauses.failed("run", run.pk, first_pause=_FIRST_PAUSE_OF_A_RUN_SECONDS)
            raise
        if problems:
            self._pauses.failed("run", run.pk)
            problem = " ".join(problems)
            logger.warning(
                "work keep collection=%s run=%s problem=%s", run.collection_id, run.number, problem
            )
        else:
            self._pauses.worked("run", run.pk)
            self._pauses.worked("keep", run.collection_id)
            logger.info("work kept collection=%s run=%s", run.collection_id, run.number)
        return True


class BackgroundTask(ABC):
    """A task that someone is waiting for. It can run in its own thread, as other work may take long."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def go_on(self) -> None:
        """Work until `over` is set."""
        while not self.over.is_set():
            done = False
            with _nothing_ends_it():
                done = self.round()
            if not done:
                close_old_connections()
                self.over.wait(TASK_SECONDS)
        connections.close_all()

    @abstractmethod
    def round(self) -> bool:
        """Do one piece of work. Returns whether there may be another one."""


class Mailer(BackgroundTask):
    """Send due mail, one message at a time."""

    def round(self) -> bool:
        """Send one mail. Returns whether there may be another one."""
        return outbox.send_next(compose_mail)


class Exporter(BackgroundTask):
    """Makes the exports that people wait for, one after the other.

    `remote` limits it to exports of files that an account has to send, or to those of stored files.
    """

    def __init__(self, *, remote: bool | None = None) -> None:
        super().__init__()
        self._queue = Queue(remote=remote)

    def round(self) -> bool:
        """Make one export, or stop when `over` is set. Returns whether there may be another one."""
        return build_next(self._queue, must_stop=self.over.is_set)


@contextmanager
def _nothing_ends_it() -> Iterator[None]:
    """Let what fails be logged, in lines that say nothing of what was done before."""
    clear_contextvars()
    try:
        yield
    except (DatabaseError, OSError) as error:
        logger.warning("work problem=%s", database.reason(error))
    except Exception:
        logger.exception("work problem=unexpected")


def _connected() -> list[Collection]:
    collections = Collection.objects.current().exclude(account=None).exclude(account__encrypted_key="")
    return list(collections.select_related("account").order_by("pk"))

"""The background worker: what the `work` command does."""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

from django.core.mail import EmailMessage
from django.db import DatabaseError, OperationalError, close_old_connections, connections
from django.utils import timezone
from structlog.contextvars import clear_contextvars

from collections_app import measurements, outbox
from collections_app.events.unannounced import with_changed_outages, with_changed_problems, with_changed_runs
from collections_app.management.retention import apply_retention
from collections_app.models import Collection, Export, Retention, Run, State
from collections_app.models.keeping import runs_to_copy
from collections_app.notifications import mail as notification_mail
from collections_app.notifications import sending, warnings
from collections_app.notifications.announce import announce, announce_outage
from collections_app.people.password_links import compose_mail
from collections_app.records.exports import retention
from collections_app.records.exports.build import Queue, build_next, due
from collections_app.records.preview.engine import QueryTimeout, UnreadableFile
from collections_app.records.quality.queue import next_run
from collections_app.records.quality.verdicts import judge
from collections_app.records.tracking import blocks, comparison_files, slice_repair
from collections_app.records.tracking.build_comparison import build_next as build_next_comparison
from collections_app.records.tracking.comparisons import compare_newest
from collections_app.records.tracking.settings import update_suggestion
from collections_app.records.tracking.slice_builder import RunDeleted, Stopped, build_slice
from collections_app.records.tracking.slice_queue import SliceQueue
from collections_app.records.tracking.stored_slices import SliceUnavailable
from collections_app.runs.lease import LeaseLost, RunIsBeingWritten
from collections_app.runs.mirror import mirror_run
from collections_app.runs.repair import fail_interrupted_runs
from collections_app.sources import SourceBusy, SourceUnavailable, sync
from collections_app.sources.account import AccountSource
from collections_app.system import database
from collections_app.system.background import in_background

logger = logging.getLogger(__name__)

IDLE_SECONDS = 5.0
# Someone is watching the progress of an export, or waiting for an email.
TASK_IDLE_SECONDS = 1.0
TIDY_SECONDS = 600.0
WARNING_SECONDS = 60.0
# How often to look at the problems of all collections.
PROBLEM_SECONDS = 10.0
# How old the rows of a collection may become, in general and if a run is Processing.
REFRESH_AFTER = timedelta(minutes=5)
REFRESH_SOON_AFTER = timedelta(minutes=1)
LIST_SECONDS = 60.0

# Threads that send notifications at the same time. Nearly all of their time, they wait for other servers.
_MOST_SENDERS = 64
_MOST_SENDERS_PER_TEAM = 8

# The pause after the first failure. It doubles with each further one.
_FIRST_PAUSE_SECONDS = 60.0
_FIRST_PAUSE_OF_A_RUN_SECONDS = 300.0
_LONGEST_PAUSE_SECONDS = 3600.0


class Backoff:
    """The work that failed, and when to retry it."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, int], int] = {}
        self._until: dict[tuple[str, int], float] = {}

    def failed(self, what: str, pk: int, *, first_pause: float = _FIRST_PAUSE_SECONDS) -> None:
        """Pause it, twice as long as the last time."""
        failures = self._failures[what, pk] = self._failures.get((what, pk), 0) + 1
        pause = min(first_pause * 2 ** min(failures - 1, 10), _LONGEST_PAUSE_SECONDS)
        self.pause(what, pk, pause)

    def pause(self, what: str, pk: int, seconds: float) -> None:
        """Pause it for this many seconds."""
        self._until[what, pk] = time.monotonic() + seconds

    def succeeded(self, what: str, pk: int) -> None:
        """Forget its failures."""
        self._failures.pop((what, pk), None)
        self._until.pop((what, pk), None)

    def paused(self, what: str) -> set[int]:
        """Return the primary keys of what is paused now."""
        now = time.monotonic()
        return {pk for (kind, pk), until in self._until.items() if kind == what and now < until}


class Worker:
    """Do what is due according to the database, and these tasks.

    Several workers can run at the same time.
    """

    def __init__(self, *tasks: "BackgroundTask") -> None:
        self._backoff = Backoff()
        self._tasks = tasks
        self._tidied_at = float("-inf")
        self.has_failed = False

    def run_forever(self) -> None:
        """Work until the process stops, and continue after errors."""
        while True:
            if not self.run_once():
                close_old_connections()  # to reconnect if the database was restarted
                time.sleep(IDLE_SECONDS)

    def run_once(self) -> bool:
        """Do what is due, and copy at most one run per collection. Return whether more may be due."""
        with _errors_logged():
            done_tasks = [task.run_once() for task in self._tasks]
            clear_contextvars()
            fail_interrupted_runs()
            for collection in self._due_for_refresh():
                self._try("refresh", collection, self._refresh)
            # One run each, so that a collection of a thousand runs doesn't delay the others.
            done = [self._try("keep", collection, self._keep) for collection in self._due_for_copying()]
            deleted = [self._retain(retention) for retention in self._due_retentions()]
            self._tidy()
            return any(done_tasks + done + deleted)
        self.has_failed = True
        return False

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            retention.tidy()
            blocks.tidy()
            comparison_files.tidy()
            slice_repair.tidy()

    def _due_for_refresh(self) -> list[Collection]:
        """Return the connected collections whose rows are too old."""
        now = timezone.now()
        # This condition matches an index.
        processing = Run.objects.filter(state=State.PROCESSING, lease_expires_at=None)
        soon = set(processing.values_list("collection", flat=True).distinct())

        def is_due(collection: Collection) -> bool:
            tried_at = collection.refresh_tried_at
            after = REFRESH_SOON_AFTER if collection.pk in soon else REFRESH_AFTER
            # A time in the future was stored before the clock was set back.
            is_old = tried_at is None or not timedelta(0) <= now - tried_at < after
            return is_old and collection.retry_after is None

        paused = self._backoff.paused("refresh")
        return [each for each in _connected() if each.pk not in paused and is_due(each)]

    def _due_for_copying(self) -> list[Collection]:
        """Return the connected collections whose results are kept."""
        paused = self._backoff.paused("keep")
        return [each for each in _connected() if each.keeps_results and each.pk not in paused]

    def _due_retentions(self) -> list[Retention]:
        """Return the settings of the collections whose runs have to be marked or deleted."""
        paused = self._backoff.paused("retention")
        due = Retention.objects.due().exclude(collection__in=paused)
        return list(due.select_related("collection__account").order_by("pk"))

    def _retain(self, retention: Retention) -> bool:
        return self._try("retention", retention.collection, lambda collection: apply_retention(retention))

    def _try(self, what: str, collection: Collection, work: Callable[[Collection], bool]) -> bool:
        """Work on a collection. Log errors, and pause the collection after them."""
        clear_contextvars()
        if collection.account_id in self._backoff.paused("account"):
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
            self._backoff.failed(what, collection.pk)
        return False

    def _failed(
        self, what: str, collection: Collection, problem: str, retry_after: int | None = None
    ) -> None:
        logger.warning(
            "work %s account=%s collection=%s problem=%s",
            *(what, collection.account_id, collection.pk, problem),
        )
        self.has_failed = True
        self._backoff.failed(what, collection.pk)
        if retry_after is not None and collection.account_id is not None:
            self._backoff.pause("account", collection.account_id, retry_after)

    def _refresh(self, collection: Collection) -> bool:
        tried_at = collection.refresh_tried_at
        mine = Collection.objects.filter(pk=collection.pk, refresh_tried_at=tried_at)
        if mine.update(refresh_tried_at=timezone.now()):
            sync.refresh(collection, seconds=LIST_SECONDS)
            if self._check_refresh("refresh", collection):
                sync.reread(collection, seconds=LIST_SECONDS)
        return True

    def _check_refresh(self, what: str, collection: Collection) -> bool:
        collection.refresh_from_db()
        if collection.refresh_problem:
            self._failed(what, collection, collection.refresh_problem, collection.retry_after)
            return False
        self._backoff.succeeded(what, collection.pk)
        return True

    def _keep(self, collection: Collection) -> bool:
        """List older runs or, if all are known, copy the oldest run that isn't kept."""
        if collection.has_older_runs and collection.pk not in self._backoff.paused("reach back"):
            sync.load_older(collection, seconds=LIST_SECONDS)
            return self._check_refresh("reach back", collection)
        paused = self._backoff.paused("run")
        to_copy = runs_to_copy(collection).exclude(pk__in=paused)
        run = to_copy.select_related("collection__account").first()
        return run is not None and self._copy(run)

    def _copy(self, run: Run) -> bool:
        try:
            problems = mirror_run(run, AccountSource())
            self.has_failed |= bool(problems)
        except (RunIsBeingWritten, LeaseLost) as error:
            problems = [str(error)]  # another process copies it
        except (SourceUnavailable, OSError):
            # Maybe only this run fails. Pause it longer than its collection, so that others are tried first.
            self._backoff.failed("run", run.pk, first_pause=_FIRST_PAUSE_OF_A_RUN_SECONDS)
            raise
        if problems:
            self._backoff.failed("run", run.pk)
            problem = " ".join(problems)
            logger.warning(
                "work keep collection=%s run=%s problem=%s", run.collection_id, run.number, problem
            )
        else:
            self._backoff.succeeded("run", run.pk)
            self._backoff.succeeded("keep", run.collection_id)
            logger.info("work kept collection=%s run=%s", run.collection_id, run.number)
        return True


class BackgroundTask(ABC):
    """A task that someone is waiting for. It can run in its own thread, because other work may take long."""

    def __init__(self) -> None:
        self.stop = threading.Event()

    def run_forever(self) -> None:
        """Work until `stop` is set."""
        while not self.stop.is_set():
            done = False
            with _errors_logged():
                done = self.run_once()
            if not done:
                close_old_connections()
                self.stop.wait(TASK_IDLE_SECONDS)
        connections.close_all()

    @abstractmethod
    def run_once(self) -> bool:
        """Do one piece of work. Return whether there may be more."""


class Repairer(BackgroundTask):
    """Fail or delete runs whose writer was killed, even while the worker copies a run."""

    def run_once(self) -> bool:
        """Repair all of them. Return False, because no work is left."""
        fail_interrupted_runs()
        return False


class Measurer(BackgroundTask):
    """Measure how much space the site uses, even while the worker copies a run."""

    def __init__(self) -> None:
        super().__init__()
        self._measured_at = float("-inf")

    def run_once(self) -> bool:
        """Measure at most once a minute. Return False, because no work is left."""
        if time.monotonic() - self._measured_at >= measurements.EVERY_SECONDS:
            self._measured_at = time.monotonic()
            measurements.measure()
        return False


class Mailer(BackgroundTask):
    """Send due mail, one message at a time."""

    def run_once(self) -> bool:
        """Send one message. Return whether there may be another one."""
        return outbox.send_next(_compose)


def _compose(data: outbox.Data) -> EmailMessage | None:
    return notification_mail.compose(data) if notification_mail.is_ours(data) else compose_mail(data)


class Announcer(BackgroundTask):
    """Record what happened to runs, collections and accounts, and who has to be notified."""

    def __init__(self) -> None:
        super().__init__()
        self._backoff = Backoff()
        self._problems_at = float("-inf")

    def run_once(self) -> bool:
        """Announce everything new about runs, and every few seconds, about problems and outages."""
        collections = with_changed_runs(except_for=self._backoff.paused("collection"))
        accounts: set[int] = set()
        if time.monotonic() - self._problems_at > PROBLEM_SECONDS:
            self._problems_at = time.monotonic()
            collections |= with_changed_problems()
            accounts = with_changed_outages()
        found = self._announce("collection", collections, announce)
        return self._announce("account", accounts, announce_outage) or found

    def _announce(self, what: str, ids: set[int], announce: Callable[[int], int]) -> bool:
        waiting = sorted(ids - self._backoff.paused(what))
        return sum(self._try(what, pk, announce) for pk in waiting) > 0

    def _try(self, what: str, pk: int, announce: Callable[[int], int]) -> int:
        """Return the number of events. After an error, pause it, so that it doesn't delay the others."""
        try:
            found = announce(pk)
        except OperationalError:
            raise
        except Exception:
            logger.exception("work announce %s=%s problem=unexpected", what, pk)
            self._backoff.failed(what, pk)
            return 0
        self._backoff.succeeded(what, pk)
        return found


class Sender(BackgroundTask):
    """Send notifications to channels, each in a thread of its own, so that a slow one delays no others.

    Without threads, `run_once` sends to one channel after another.
    """

    def __init__(self, *, has_threads: bool = True) -> None:
        super().__init__()
        self._has_threads = has_threads
        self._teams: dict[int, int] = {}  # those of the channels that threads are sending to
        self._tidied_at = self._warned_at = float("-inf")

    def run_once(self) -> bool:
        """Send what is due, or have threads send it. Return whether there may be more."""
        self._tidy()
        due = sending.channels_due(except_for=set(self._teams))
        if not self._has_threads:
            sent = [sending.send_due(channel) for channel, _ in due]
            return any(sent)
        for channel, team in due:
            teams = list(self._teams.values())
            if len(teams) < _MOST_SENDERS and teams.count(team) < _MOST_SENDERS_PER_TEAM:
                self._start(channel, team)
        return False

    def _start(self, channel: int, team: int) -> None:
        self._teams[channel] = team
        try:
            in_background(partial(self._send, channel), name=f"sender {channel}")
        except RuntimeError:
            logger.warning("work send channel=%s problem=no thread", channel)
            del self._teams[channel]

    def _send(self, channel: int) -> None:
        try:
            with _errors_logged():
                sending.send_due(channel, must_stop=self.stop.is_set)
        finally:
            del self._teams[channel]

    def _tidy(self) -> None:
        if time.monotonic() - self._tidied_at > TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            sending.tidy()
        if time.monotonic() - self._warned_at > WARNING_SECONDS:
            self._warned_at = time.monotonic()
            warnings.warn()


class Exporter(BackgroundTask):
    """Create queued exports, one at a time.

    If `remote` is true, create only exports of files that an account has to send; if it is false, only
    exports of stored files.
    """

    def __init__(self, *, remote: bool | None = None) -> None:
        super().__init__()
        self._queue = Queue(remote=remote)

    def run_once(self) -> bool:
        """Create one export, or put it back when `stop` is set. Return whether there may be more."""
        return build_next(self._queue, must_stop=self.stop.is_set)


class Slicer(BackgroundTask):
    """Create the slices of runs, so that the runs can be compared, one at a time.

    If `remote` is true, create only slices whose records an account has to send; if it is false, only those
    of stored files. If `gives_way` is true, put a slice back when someone waits for an export, because the
    same thread creates it.
    """

    def __init__(self, *, remote: bool | None = None, gives_way: bool = False) -> None:
        super().__init__()
        self._gives_way = gives_way
        self._checked_at = float("-inf")
        self._queues = [SliceQueue(remote=each) for each in (False, True) if remote in {None, each}]
        self._backoff = Backoff()

    def run_once(self) -> bool:
        """Create at most one slice of each kind. Return whether there may be more."""
        done = [self._create_next(queue) for queue in self._queues]
        return any(done)

    def _create_next(self, queue: SliceQueue) -> bool:
        if self._backoff.paused("storage"):
            return False
        run = queue.next(paused=self._backoff.paused("account"))
        if run is None:
            return False
        try:
            build_slice(run, must_stop=self._must_stop)
        except (RunDeleted, Stopped):
            return True
        except (SourceUnavailable, OSError) as error:
            self._pause(run, error)
        else:
            self._backoff.succeeded("account", run.collection.account_id or 0)
            update_suggestion(run.collection)
            compare_newest(run.collection)
        return True

    def _must_stop(self) -> bool:
        if self._gives_way and time.monotonic() - self._checked_at > TASK_IDLE_SECONDS:
            self._checked_at = time.monotonic()
            return Export.objects.filter(due()).exists()
        return self.stop.is_set()

    def _pause(self, run: Run, error: SourceUnavailable | OSError) -> None:
        """Pause the account or the storage, because other runs may fail, too."""
        logger.warning("work slice collection=%s run=%s problem=%s", run.collection_id, run.number, error)
        account = run.collection.account_id
        if run.is_kept or account is None:
            self._backoff.pause("storage", 0, _FIRST_PAUSE_SECONDS)
        elif isinstance(error, SourceBusy):
            self._backoff.pause("account", account, error.retry_after)
        else:
            self._backoff.failed("account", account)


class Judge(BackgroundTask):
    """Judge runs that have a slice, one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._backoff = Backoff()

    def run_once(self) -> bool:
        """Judge one run, and pause it after an error. Return whether there may be more."""
        run = next_run(except_for=self._backoff.paused("run"))
        if run is None:
            return False
        try:
            judge(run)
        except DatabaseError:
            raise
        except (SliceUnavailable, QueryTimeout, UnreadableFile, OSError) as error:
            logger.warning(
                "work verdict collection=%s run=%s problem=%s", run.collection_id, run.number, error
            )
            self._backoff.failed("run", run.pk)
        except Exception:
            logger.exception("work verdict collection=%s run=%s", run.collection_id, run.number)
            self._backoff.failed("run", run.pk)
        else:
            self._backoff.succeeded("run", run.pk)
        return True


class BlockBuilder(BackgroundTask):
    """Merge the products of runs into blocks, which the history of a product is read from, one at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._backoff = Backoff()
        self._idle_until = float("-inf")

    def run_once(self) -> bool:
        """Create one block. Return whether there may be more. Look for work every few seconds at most."""
        started_at = time.monotonic()
        if started_at < self._idle_until:
            return False
        task = blocks.next_task(self._backoff.paused("blocks"))
        if task is None:
            now = time.monotonic()
            # On a large site, looking takes seconds.
            self._idle_until = now + max(IDLE_SECONDS, 50 * (now - started_at))
            return False
        try:
            blocks.build(task)
        except blocks.Outdated:
            pass
        except (SliceUnavailable, QueryTimeout, UnreadableFile, OSError) as error:
            logger.warning("work blocks collection=%s problem=%s", task.collection_id, error)
            self._backoff.failed("blocks", task.collection_id)
        else:
            self._backoff.succeeded("blocks", task.collection_id)
        return True


class ComparisonBuilder(BackgroundTask):
    """Compare runs, one pair at a time.

    If `has_slices` is true, compare only runs whose slices exist; if it is false, only others.
    """

    def __init__(self, *, has_slices: bool | None = None) -> None:
        super().__init__()
        self._has_slices = has_slices

    def run_once(self) -> bool:
        """Compare two runs, or put them back when `stop` is set. Return whether there may be more."""
        return build_next_comparison(has_slices=self._has_slices, must_stop=self.stop.is_set)


@contextmanager
def _errors_logged() -> Iterator[None]:
    """Log errors, without the log context of earlier work."""
    clear_contextvars()
    try:
        yield
    except (DatabaseError, OSError) as error:
        logger.warning("work problem=%s", database.reason(error))
    except Exception:
        logger.exception("work problem=unexpected")


def _connected() -> list[Collection]:
    return list(Collection.objects.connected().select_related("account").order_by("pk"))

"""Read the slices of runs from the results storage."""

import errno
import logging
import time

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from collections_app.files.storage.base import results
from collections_app.files.storage.cache import BuildFailed, local_copy
from collections_app.models import Run, Slice, SliceState
from collections_app.models.slices import SliceQuerySet
from collections_app.records.tracking.slice_builder import RunDeleted, build_slice
from collections_app.records.tracking.slices import VERSION, SliceFile
from collections_app.sources import SourceUnavailable

logger = logging.getLogger(__name__)

# How long to wait for another process that creates the slice.
_MOST_SECONDS = 600.0
_POLL_SECONDS = 0.5


class SliceUnavailable(Exception):
    """The slice of a run can't be created. The message is for people."""


def slice_of(run: Run) -> SliceFile:
    """Return the slice of a ready run, and create it if it doesn't exist. Raises SliceUnavailable.

    If another process is creating it, wait. This may take minutes.
    """
    until = time.monotonic() + _MOST_SECONDS
    while time.monotonic() < until:
        found = existing_slice(run)
        if found is not None:
            return found
        _check_failure(run)
        if not _built_on_demand(run):
            time.sleep(_POLL_SECONDS)
    raise SliceUnavailable("Preparing the run for comparison takes too long. Try again later.")


def existing_slice(run: Run) -> SliceFile | None:
    """Return the slice of a run if it exists. Raises SliceUnavailable if its file can't be read now."""
    stored = Slice.objects.ready().filter(run=run, version=VERSION).first()
    if stored is None:
        return None
    try:
        return _opened(stored)
    except FileNotFoundError:  # for example after a backup was restored without it
        forget(stored)
    except (OSError, BuildFailed) as error:
        logger.warning("slice run=%s problem=%s", run.pk, error)
        raise SliceUnavailable("The results storage can't be read. Try again later.") from error
    return None


def _opened(stored: Slice) -> SliceFile:
    """Return the file on this machine. Raises FileNotFoundError if it is missing or cut."""
    path = results().local_path(stored.key)
    if path is not None and path.stat().st_size != stored.size:
        raise FileNotFoundError(errno.ENOENT, "The slice is damaged", str(path))
    return SliceFile(local_copy(stored.key), tuple(stored.columns))


def forget(stored: Slice) -> None:
    """Delete a slice whose file is missing or damaged, so that it is created again."""
    # A slice that was replaced in the meantime has another key.
    forget_rows(Slice.objects.filter(pk=stored.pk, key=stored.key))
    results().delete(stored.key)


def forget_rows(slices: SliceQuerySet) -> None:
    """Delete the rows of slices whose files are missing, so that they are created again."""
    lost = slices.ready()
    with transaction.atomic():
        Run.objects.filter(pk__in=list(lost.values_list("run", flat=True))).update(needs_slice=True)
        lost.delete()


def _check_failure(run: Run) -> None:
    """Raise SliceUnavailable if creating the slice has failed, and it isn't time to try again."""
    failed = Slice.objects.filter(run=run, state=SliceState.FAILED)
    waiting = failed.filter(Q(retry_at=None) | Q(retry_at__gt=timezone.now())).first()
    if waiting is not None:
        raise SliceUnavailable(waiting.failure)


def _built_on_demand(run: Run) -> bool:
    try:
        return build_slice(run)
    except RunDeleted:
        raise SliceUnavailable("The run has been deleted.") from None
    except SourceUnavailable as error:
        raise SliceUnavailable(str(error)) from error
    except OSError as error:
        raise SliceUnavailable("The run can't be prepared for comparison. Try again later.") from error

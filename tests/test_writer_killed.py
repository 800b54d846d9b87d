"""Any process may be killed at any point: no incomplete run is shown, and no complete one is lost.

Forked child processes kill themselves (SIGKILL) at every point before and after something is written, synced,
renamed, removed or committed.
"""

import gc
import hashlib
import itertools
import os
import random
import re
import signal
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.utils import timezone

from collections_app.files.storage.bucket import BucketStorage
from collections_app.models import Collection, FileKind, ResultFile, Run, State
from collections_app.runs.new_file import NewFile
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from collections_app.runs.writer import ResultSetWriter
from tests.support.results import (
    abandon,
    make_processing_run,
    make_ready_run,
    records,
    stored_digests,
    stored_keys,
    stored_records,
)
from tests.support.tools import is_thorough

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.no_cover,
]

POINTS: list[tuple[Any, str]] = [
    (NewFile, "write"),
    (BucketStorage, "call"),
    (os, "fsync"),
    (os, "remove"),
    (os, "rmdir"),
    (Path, "open"),
    (Path, "mkdir"),
    (Path, "replace"),
    (Path, "unlink"),
    (CursorWrapper, "execute"),
    (CursorWrapper, "executemany"),
    (BaseDatabaseWrapper, "_commit"),
]
# A server is slow, and its requests are the only points to be killed at.
POINTS_ON_S3 = [point for point in POINTS if point[0] in {BucketStorage, BaseDatabaseWrapper}]
HANGS_AFTER_SECONDS = 60
# Temporary names: those of an attempt, and of an unfinished file.
TOKEN = r"\b([0-9a-f]{16}|[0-9a-f]{8})\b"


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip syncing, but keep it as a point to be killed at. The system keeps a killed process's writes."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


def write_a_product_run(collection: Collection) -> None:
    with ResultSetWriter.start(collection, page_size=2) as writer:
        for record in records(3):
            writer.add_record(record)


def write_a_category_run(collection: Collection) -> None:
    with ResultSetWriter.start(collection) as writer:
        for record in records(2):
            writer.add_record(record)


def resume_a_run(collection: Collection) -> None:
    run = collection.runs.get(state=State.PROCESSING)
    with ResultSetWriter.resume(run) as writer:
        writer.add_record({})


def delete_a_run(collection: Collection) -> None:
    delete_run(collection.runs.get(number=2))


def repair(collection: Collection) -> None:
    repair_runs()


def nothing(collection: Collection) -> None:
    """Prepare nothing."""


def a_complete_run(collection: Collection) -> None:
    make_ready_run(collection, records(3), page_size=2)


def a_paused_run(collection: Collection) -> None:
    make_processing_run(collection, records(2))


def a_mess(collection: Collection) -> None:
    """Leave behind what killed writers and a killed deletion leave."""
    writer = ResultSetWriter.start(collection, page_size=2)
    for record in records(3):
        writer.add_record(record)
    abandon(writer)
    make_ready_run(collection, records(1))
    Run.objects.filter(number=3).delete()
    expire_leases()


THOROUGH = pytest.mark.thorough
CASES = [
    pytest.param("laptops", nothing, write_a_product_run, id="product run", marks=THOROUGH),
    pytest.param("headphones", nothing, write_a_category_run, id="category run", marks=THOROUGH),
    pytest.param("laptops", a_paused_run, resume_a_run, id="resumed product run"),
    pytest.param("headphones", a_paused_run, resume_a_run, id="resumed category run", marks=THOROUGH),
    pytest.param("laptops", a_complete_run, delete_a_run, id="deletion"),
    pytest.param("laptops", a_mess, repair, id="repair"),
]


@pytest.mark.parametrize(("kind", "prepare", "act"), CASES)
def test_killed_at_every_point(
    request: pytest.FixtureRequest,
    results_storage: str,
    kind: str,
    prepare: Callable[[Collection], None],
    act: Callable[[Collection], None],
) -> None:
    collection = request.getfixturevalue(kind)
    points = POINTS_ON_S3 if results_storage == "s3" else POINTS
    checked: set[str] = set()
    for point in points_to_be_killed_at(results_storage):
        start_over(collection)
        prepare(collection)
        killed = is_killed(lambda point=point: kill_at(points, point, lambda: act(collection)))  # type: ignore[misc]
        check_once(collection, checked)
        if not killed:
            break
    assert point > (3 if results_storage == "s3" else 20)
    assert len(checked) > 2


@pytest.mark.parametrize(("kind", "prepare", "act"), CASES[:2])
@pytest.mark.thorough
def test_killed_at_any_moment(
    request: pytest.FixtureRequest,
    kind: str,
    prepare: Callable[[Collection], None],
    act: Callable[[Collection], None],
) -> None:
    collection = request.getfixturevalue(kind)
    start_over(collection)
    began = time.monotonic()
    act(collection)
    takes = time.monotonic() - began
    moments = random.Random(88)
    checked: set[str] = set()
    for _ in range(50):
        start_over(collection)
        is_killed(lambda: act(collection), kill_after=moments.uniform(0, 2 * takes))
        check_once(collection, checked)


def points_to_be_killed_at(results_storage: str) -> Iterator[int]:
    """Yield the numbers of the points endlessly: all of them, or a sample.

    On S3, a deletion has nine points, so testing its states takes every third one.
    """
    step = 3 if results_storage == "s3" else 10
    return itertools.count(1, 1 if is_thorough() else step)


def start_over(collection: Collection) -> None:
    """Leave only the completed run 1, which must never change."""
    for run in collection.runs.exclude(number=1):
        delete_run(run)
    if not collection.runs.exists():
        make_ready_run(collection, records(1))
    Collection.objects.filter(pk=collection.pk).update(last_run_number=1)


def is_killed(act: Callable[[], None], *, kill_after: float | None = None) -> bool:
    """Call a function in a child process. Return whether it was killed; fail if it fails."""
    connections.close_all()
    gc.freeze()  # otherwise the child's collector touches all objects, which copies their memory
    with warnings.catch_warnings():
        # The child of a process with threads may hang; the alarm ends it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        signal.alarm(HANGS_AFTER_SECONDS)
        try:
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001  # whatever it is, the parent's tests must not go on here
            os._exit(1)
    gc.unfreeze()
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, "The child hung."
        return True
    assert os.WEXITSTATUS(status) == 0, "The child failed."
    return False


def kill_at(points: list[tuple[Any, str]], point: int, act: Callable[[], None]) -> None:
    """Call a function and die at the given point. This runs in a child, so nothing is restored."""
    passed = 0

    def pass_a_point() -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def guarded(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            pass_a_point()
            result = original(*args, **kwargs)
            pass_a_point()
            return result

        return call

    for owner, name in points:
        setattr(owner, name, guarded(getattr(owner, name)))
    act()


def expire_leases() -> None:
    """Let all leases expire."""
    past = timezone.now() - timedelta(seconds=1)
    Run.objects.exclude(lease_expires_at=None).update(lease_expires_at=past)


def check_once(collection: Collection, checked: set[str]) -> None:
    """Check what a killed process left behind, unless the same state was checked before."""
    left = what_is_left(collection)
    if left not in checked:
        check(collection)
        checked.add(left)
    expire_leases()
    repair_runs()


def what_is_left(collection: Collection) -> str:
    """Return all rows and files, without ids, tokens and times."""
    collection.refresh_from_db()
    told = [str(collection.last_run_number)]
    for run in collection.runs.order_by("number").prefetch_related("files"):
        told += [shown(run, is_leased=run.lease_expires_at is not None)]
        told += sorted(shown(file) for file in run.files.all())
    tokens: dict[str, str] = {}

    def named(text: str) -> str:
        return re.sub(TOKEN, lambda found: tokens.setdefault(found[0], f"token {len(tokens)}"), text)

    told = [named(text) for text in told]
    told += sorted(named(f"{key} {digest}") for key, digest in stored_digests().items())
    return "\n".join(told)


def shown(row: Run | ResultFile, **more: object) -> str:
    """Return the values of a row."""
    changing = {"id", "run", "created_at", "updated_at", "lease_expires_at", "modified"}
    said = {
        field.name: field.value_from_object(row) for field in row._meta.fields if field.name not in changing
    }
    return repr(said | more)


def check(collection: Collection) -> None:
    ready = ready_runs(collection)
    assert 1 in ready
    expire_leases()
    repair_runs()
    assert ready_runs(collection) == ready
    assert not Run.objects.exclude(lease_expires_at=None).exists()
    assert set(stored_keys()) == set(ResultFile.objects.values_list("key", flat=True))
    assert not repair_runs().was_needed

    for run in collection.runs.filter(state=State.PROCESSING):
        with ResultSetWriter.resume(run) as writer:
            writer.add_record({"asin": "last"})
        assert stored_records(writer.run)[:2] == records(2)
        assert stored_records(writer.run)[-1] == {"asin": "last"}
    new = make_ready_run(collection, records(3))
    assert stored_records(new) == records(3)
    assert new.number in ready_runs(collection)


def ready_runs(collection: Collection) -> set[int]:
    """Return the numbers of the downloadable runs, after checking every byte."""
    ready = set()
    for run in collection.runs.with_files():
        if not run.is_ready:
            assert run.ready_files == []
            continue
        ready.add(run.number)
        assert len(run.ready_files) == run.file_count
        for file in run.ready_files:
            verify(file)
        if run.archive is not None:
            with storages["results"].open(run.archive.key) as stored, zipfile.ZipFile(stored) as archive:
                assert archive.testzip() is None
                assert archive.namelist() == [page.name for page in run.pages]
        kinds = {file.kind for file in run.ready_files}
        assert kinds in (
            {FileKind.PAGE, FileKind.ARCHIVE},
            {FileKind.CATEGORY_LIST, FileKind.CATEGORY_CSV},
        )
        assert len(stored_records(run)) == run.extracted
    return ready


def verify(file: ResultFile) -> None:
    with storages["results"].open(file.key) as stored:
        content = stored.read()
    assert len(content) == file.size
    assert hashlib.sha256(content).hexdigest() == file.sha256

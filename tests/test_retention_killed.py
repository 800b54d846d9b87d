"""The worker may be killed at any point while it deletes runs. The next time, it deletes the rest."""

from datetime import timedelta
from itertools import count

import pytest
from django.utils import timezone

from collections_app.management.retention import apply_retention
from collections_app.models import Collection, ResultFile, Run, User
from collections_app.models.retention import RetentionKind, retention_of, set_retention
from collections_app.runs.removal import delete_run
from collections_app.runs.repair import repair_runs
from tests.support.results import make_ready_run, records, stored_keys, stored_records
from tests.test_writer_killed import POINTS, is_killed, kill_at

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.no_cover, pytest.mark.thorough]


def test_killed_at_every_point(laptops: Collection, alice: User) -> None:
    # Every third point, because each deletion and each marking has the same states.
    for point in count(1, 3):
        newest = start_over(laptops, alice)
        killed = is_killed(lambda point=point: kill_at(POINTS, point, lambda: delete_expired(laptops)))  # type: ignore[misc]
        assert set(ResultFile.objects.values_list("key", flat=True)) <= set(stored_keys())
        repair_runs()
        delete_expired(laptops)
        assert list(laptops.runs.all()) == [newest]
        assert stored_records(newest) == records(3)
        assert sorted(stored_keys()) == sorted(newest.files.values_list("key", flat=True))
        assert not repair_runs().was_needed
        if not killed:
            break
    assert point > 20


def start_over(collection: Collection, alice: User) -> Run:
    """Leave two runs. The grace period of the older one is over."""
    for run in collection.runs.all():
        delete_run(run)
    runs = [make_ready_run(collection, records(3)) for _ in range(2)]
    set_retention(collection, RetentionKind.RUNS, 1, by=alice)
    Run.objects.exclude(delete_at=None).update(delete_at=timezone.now() - timedelta(minutes=1))
    return runs[-1]


def delete_expired(collection: Collection) -> None:
    retention = retention_of(collection)
    assert retention
    apply_retention(retention)

from contextlib import suppress
from zoneinfo import ZoneInfo

from django.db import migrations

from collections_app.models.rhythm import LEARNED_FROM, learn

BLOCK = 500


def expect_next_runs(apps, schema_editor):
    """Store when the next runs are expected. Of each collection, at most the newest 20 runs are read."""
    collections = apps.get_model("collections_app", "Collection").objects
    runs = apps.get_model("collections_app", "Run").objects.order_by("-created_at", "-number")
    ids = list(collections.values_list("pk", flat=True))
    for begin in range(0, len(ids), BLOCK):
        block = list(collections.filter(pk__in=ids[begin : begin + BLOCK]).only("pk"))
        for collection in block:
            newest = runs.filter(collection=collection.pk).values_list("created_at", flat=True)
            expect_next_run(collection, list(newest[:LEARNED_FROM]))
        collections.bulk_update(block, ["expected_at", "late_at"])


def expect_next_run(collection, times):
    with suppress(OverflowError):
        if rhythm := learn(times, ZoneInfo("UTC")):
            expected = rhythm.next_after(times[0])
            collection.expected_at, collection.late_at = expected.at, expected.late_at


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0019_expected_runs")]

    operations = [migrations.RunPython(expect_next_runs, migrations.RunPython.noop)]

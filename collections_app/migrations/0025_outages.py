from django.db import migrations, models
from django.db.models import F


def note_failures(apps, schema_editor):
    """Let known failures begin when they were last seen: earlier times weren't stored."""
    collections = apps.get_model("collections_app", "Collection").objects.exclude(refresh_problem="")
    collections.update(failing_since=F("refresh_tried_at"))


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0024_columns_of_collections")]

    operations = [
        migrations.AddField(
            "collection", "failing_since", models.DateTimeField(blank=True, editable=False, null=True)
        ),
        migrations.RunPython(note_failures, migrations.RunPython.noop),
    ]

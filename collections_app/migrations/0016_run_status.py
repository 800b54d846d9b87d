"""Add the columns that tell when an unfinished run stalls, and set them for the runs that exist."""

from datetime import timedelta

from django.db import migrations, models
from django.db.models import F


def set_deadlines(apps, schema_editor):
    processing = apps.get_model("collections_app", "Run").objects.filter(state="processing")
    processing.update(progressed_at=F("updated_at"), stalls_at=F("updated_at") + timedelta(hours=1))


class Migration(migrations.Migration):

    dependencies = [
        ('collections_app', '0015_names_are_visible'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='longest_step',
            field=models.DurationField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='progressed_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='stalls_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.RunPython(set_deadlines, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('state__in', ['failed', 'processing'])), fields=['collection', '-created_at', '-number'], name='run_unready'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('extracted__gt', 0), ('extracted__lt', models.F('total')), ('state', 'ready')), fields=['collection', '-created_at', '-number'], name='run_incomplete'),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('extracted', 0), ('total__gt', 0), ('state', 'ready')), fields=['collection', '-created_at', '-number'], name='run_empty'),
        ),
    ]

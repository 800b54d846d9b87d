from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def mark_invalid_lists(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Mark copies without a record count as damaged: the account didn't send a list of records."""
    files = apps.get_model("collections_app", "ResultFile").objects
    runs = apps.get_model("collections_app", "Run").objects
    uncounted = files.filter(kind__in=["page", "category_list"], records=None).exclude(key="")
    damaged = uncounted.exclude(remote_name="")
    runs.filter(pk__in=damaged.values("run")).update(is_kept=False)
    damaged.update(is_damaged=True)


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0011_outbox")]

    operations = [
        migrations.AddField(
            model_name="resultfile",
            name="is_damaged",
            field=models.BooleanField(
                default=False,
                editable=False,
                help_text="Whether this copy of an account's file is damaged and has to be copied again.",
            ),
        ),
        migrations.RunPython(mark_invalid_lists, migrations.RunPython.noop),
    ]

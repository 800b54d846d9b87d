from django.db import migrations, models


def delete_exports(apps, schema_editor):
    """Delete exports that were written by earlier rules. The background worker deletes their files."""
    apps.get_model("collections_app", "Export").objects.all().delete()


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0016_run_status")]

    operations = [
        migrations.AddField(
            model_name="export",
            name="separator",
            field=models.CharField(
                default=",", help_text="Between the columns of a CSV.", max_length=1
            ),
        ),
        migrations.RunPython(delete_exports, migrations.RunPython.noop),
    ]

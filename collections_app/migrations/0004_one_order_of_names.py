from django.db import migrations


def sort_by_the_letters_alone(apps, schema_editor):
    """Have PostgreSQL sort names as SQLite does, whatever language the database was created for.

    An order that a newer operating system changes would break the index, and with it the paging.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE collections_app_collection "
            'ALTER COLUMN search_name TYPE varchar(400) COLLATE "C"'
        )


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0003_runs_kept_here")]

    operations = [migrations.RunPython(sort_by_the_letters_alone, migrations.RunPython.noop)]

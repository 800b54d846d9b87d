from django.db import migrations, models


class Migration(migrations.Migration):
    """Add a column without writing any row: on SQLite, Django would copy the entire table."""

    dependencies = [("collections_app", "0020_learn_rhythms")]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE collections_app_run ADD COLUMN discard_if_killed boolean DEFAULT false NOT NULL",
                    "ALTER TABLE collections_app_run DROP COLUMN discard_if_killed",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="run",
                    name="discard_if_killed",
                    field=models.BooleanField(db_default=False, editable=False),
                )
            ],
        )
    ]

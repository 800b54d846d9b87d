from django.db import migrations, models


class Migration(migrations.Migration):
    """Add a column to the runs without writing any row: on SQLite, Django would copy the entire table."""

    dependencies = [
        ("collections_app", "0034_tracking"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE collections_app_run ADD COLUMN needs_slice boolean DEFAULT true NOT NULL",
                    "ALTER TABLE collections_app_run DROP COLUMN needs_slice",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="run",
                    name="needs_slice",
                    field=models.BooleanField(db_default=True, editable=False),
                )
            ],
        ),
        migrations.AddField(
            model_name="slice",
            name="failures",
            field=models.PositiveSmallIntegerField(default=0, help_text="In a row."),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("needs_slice", True), ("state", "ready")),
                fields=["collection", "is_kept", "-created_at", "-number"],
                name="run_to_slice",
            ),
        ),
    ]

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0028_filters_of_exports")]

    operations = [
        migrations.AddField(
            model_name="export",
            name="layout",
            field=models.CharField(
                choices=[
                    ("run", "One run"),
                    ("runs", "Several runs of a collection in one table"),
                    ("sheets", "A workbook with a sheet for each run"),
                ],
                default="run",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="export",
            name="other_runs",
            field=models.ManyToManyField(
                editable=False, related_name="joint_exports", to="collections_app.run"
            ),
        ),
        migrations.AddField(
            model_name="export",
            name="run_count",
            field=models.PositiveIntegerField(default=1, editable=False, verbose_name="number of runs"),
        ),
    ]

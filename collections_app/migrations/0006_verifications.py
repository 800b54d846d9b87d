import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0005_crc32_of_every_file")]

    operations = [
        migrations.CreateModel(
            name="Verification",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("started_at", models.DateTimeField(null=True)),
                ("lease_expires_at", models.DateTimeField(null=True)),
                ("done", models.PositiveBigIntegerField(default=0, help_text="In bytes.")),
                ("total", models.PositiveBigIntegerField(default=0, help_text="In bytes.")),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "problems",
                    models.JSONField(default=list, help_text="One sentence for each problem."),
                ),
                ("problem_count", models.PositiveIntegerField(default=0)),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="verification",
                        to="collections_app.run",
                    ),
                ),
            ],
        ),
    ]

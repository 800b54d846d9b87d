import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("collections_app", "0017_separators_of_exports"),
    ]

    operations = [
        migrations.CreateModel(
            name="Preferences",
            fields=[
                (
                    "user",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="preferences",
                        serialize=False,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "download_format",
                    models.CharField(
                        blank=True,
                        help_text="The format of the user's last download from a menu.",
                        max_length=10,
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "preferences",
            },
        ),
    ]

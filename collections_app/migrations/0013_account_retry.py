from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0012_damaged_copies")]

    operations = [
        migrations.AddField(
            model_name="collection",
            name="retry_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]

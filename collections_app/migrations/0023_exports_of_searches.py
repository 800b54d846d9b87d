from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0022_search_names")]

    operations = [
        migrations.AddField(
            model_name="export",
            name="search",
            field=models.CharField(
                blank=True, help_text="Only the records that match it are exported.", max_length=200
            ),
        ),
    ]

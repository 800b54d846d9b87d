from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0002_accounts")]

    operations = [
        # The runs that are there already are all ours; those of accounts begin with False.
        migrations.AddField(
            model_name="run",
            name="is_kept",
            field=models.BooleanField(default=True, editable=False, verbose_name="kept here"),
        ),
        migrations.AlterField(
            model_name="run",
            name="is_kept",
            field=models.BooleanField(default=False, editable=False, verbose_name="kept here"),
        ),
    ]

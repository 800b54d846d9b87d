from django.db import migrations, models

from collections_app.models.validators import NAME_VALIDATORS


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0014_known_runs_are_read_again")]

    operations = [
        migrations.AlterField(
            model_name="account",
            name="name",
            field=models.CharField(max_length=100, validators=NAME_VALIDATORS),
        ),
        migrations.AlterField(
            model_name="apikey",
            name="name",
            field=models.CharField(max_length=100, validators=NAME_VALIDATORS),
        ),
        migrations.AlterField(
            model_name="collection",
            name="name",
            field=models.CharField(max_length=200, validators=NAME_VALIDATORS),
        ),
        migrations.AlterField(
            model_name="team",
            name="name",
            field=models.CharField(max_length=100, validators=NAME_VALIDATORS),
        ),
        migrations.AlterField(
            model_name="user",
            name="name",
            field=models.CharField(blank=True, max_length=100, validators=NAME_VALIDATORS),
        ),
    ]

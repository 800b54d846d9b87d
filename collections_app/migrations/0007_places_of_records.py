from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0006_verifications")]

    operations = [
        migrations.AddField(
            model_name="resultfile",
            name="list_start",
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="resultfile",
            name="list_end",
            field=models.PositiveBigIntegerField(null=True),
        ),
    ]

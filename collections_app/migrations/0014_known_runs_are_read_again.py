from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0013_account_retry")]

    operations = [
        migrations.AddField(
            model_name="collection",
            name="reread_from",
            field=models.PositiveBigIntegerField(default=0, editable=False),
        ),
    ]

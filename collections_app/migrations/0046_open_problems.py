
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('collections_app', '0045_leases_of_blocks'),
    ]

    operations = [
        migrations.CreateModel(
            name='OpenProblem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kinds', models.JSONField(default=list, help_text='The values of EventKind that it has notified of.')),
                ('silent', models.PositiveIntegerField(default=0, help_text='Events since the last notification.')),
                ('collection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='collections_app.collection')),
                ('rule', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='open_problems', to='collections_app.rule')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('rule', 'collection'), name='problem_open_once_per_rule')],
            },
        ),
    ]

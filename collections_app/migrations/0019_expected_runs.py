import collections_app.models.time_zones
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('collections_app', '0018_preferences'),
    ]

    operations = [
        migrations.AddField(
            model_name='collection',
            name='expected_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='collection',
            name='late_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='collection',
            name='paused_at',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='collection',
            name='paused_by',
            field=models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='collection',
            name='watched_from',
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddField(
            model_name='team',
            name='time_zone',
            field=models.CharField(default='UTC', max_length=60, validators=[collections_app.models.time_zones.is_time_zone]),
        ),
        migrations.CreateModel(
            name='Acknowledgment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('note', models.CharField(max_length=300, validators=[django.core.validators.RegexValidator('[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]', 'Remove line breaks and other control characters.', inverse_match=True)])),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('until', models.DateTimeField()),
                ('last_run_at', models.DateTimeField()),
                ('run_problem', models.CharField(blank=True, choices=[('failed', 'Failed'), ('late', 'Late'), ('empty', 'Empty'), ('incomplete', 'Incomplete')], max_length=10)),
                ('covers_late', models.BooleanField(default=False)),
                ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('collection', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='acknowledgment', to='collections_app.collection')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('note', ''), _negated=True), name='acknowledgment_has_a_note'), models.CheckConstraint(condition=models.Q(('covers_late', True), ('run_problem__gt', ''), _connector='OR'), name='acknowledgment_covers_a_problem')],
            },
        ),
        migrations.CreateModel(
            name='Schedule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('interval', 'Every few hours'), ('time_of_day', 'At a time of day')], default='time_of_day', max_length=11)),
                ('every_hours', models.PositiveSmallIntegerField(blank=True, null=True, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(744)])),
                ('at', models.TimeField(blank=True, null=True, verbose_name='time of day')),
                ('weekdays', models.CharField(blank=True, default='0123456', help_text='The digits of the weekdays in order; 0 is Monday.', max_length=7, validators=[django.core.validators.RegexValidator('\\A0?1?2?3?4?5?6?\\Z')])),
                ('time_zone', models.CharField(default='UTC', max_length=60, validators=[collections_app.models.time_zones.is_time_zone])),
                ('grace_minutes', models.PositiveSmallIntegerField(default=30, validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(10080)])),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('collection', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='schedule', to='collections_app.collection')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('at', None), ('every_hours__gte', 1), ('every_hours__isnull', False), ('kind', 'interval')), models.Q(('at__isnull', False), ('every_hours', None), ('kind', 'time_of_day'), ('weekdays__gt', '')), _connector='OR'), name='schedule_is_complete'), models.CheckConstraint(condition=models.Q(('grace_minutes__gte', 1)), name='schedule_has_grace')],
            },
        ),
    ]

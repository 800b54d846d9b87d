from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0004_one_order_of_names")]

    operations = [
        # A file that lies in no ZIP may have a CRC as well.
        migrations.RemoveConstraint(model_name="resultfile", name="file_archive_place_whole"),
        migrations.AddConstraint(
            model_name="resultfile",
            constraint=models.CheckConstraint(
                condition=Q(archive_offset=None, archive_size=None) & (Q(crc32=None) | Q(crc32__gte=0))
                | Q(archive_offset__isnull=False, archive_size__isnull=False, crc32__isnull=False)
                & Q(archive_offset__gte=0, archive_size__gte=0, crc32__gte=0),
                name="file_archive_place_whole",
            ),
        ),
    ]

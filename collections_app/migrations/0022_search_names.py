from django.db import migrations

from collections_app.models.collections import search_name

BLOCK = 1000


def update_search_names(apps, schema_editor):
    """Store the names as searches of records compare them: without typographic variants, for example."""
    collections = apps.get_model("collections_app", "Collection").objects.order_by("pk")
    last = 0
    while block := list(collections.filter(pk__gt=last).only("name", "search_name")[:BLOCK]):
        last = block[-1].pk
        changed = [each for each in block if each.search_name != search_name(each.name)]
        for collection in changed:
            collection.search_name = search_name(collection.name)
        collections.bulk_update(changed, ["search_name"], batch_size=100)


class Migration(migrations.Migration):
    dependencies = [("collections_app", "0021_discarded_uploads")]

    operations = [migrations.RunPython(update_search_names, migrations.RunPython.noop)]

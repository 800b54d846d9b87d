"""Create the file of a saved export for a run."""

from collections_app.files.names import saved_export_name
from collections_app.models import Collection, Export, Run, SavedExport
from collections_app.records.exports.create import create_export, deliverable
from collections_app.records.exports.stored_spec import spec_of
from collections_app.sources import Deliverable


def saved_export(collection: Collection, name: str) -> SavedExport | None:
    """Return the saved export with this name in addresses, or None."""
    slug, _, file_format = name.rpartition(".")
    return SavedExport.objects.filter(collection=collection, slug=slug, format=file_format).first()


def create_saved(run: Run, saved: SavedExport) -> Export:
    """Return a saved export of a run. See create_export()."""
    return create_export(run, spec_of(saved))


def deliverable_of_saved(export: Export, saved: SavedExport) -> Deliverable:
    """Return a ready export as a file with the name under which it was saved."""
    run = export.run
    return deliverable(export, saved_export_name(run.collection.name, run.number, saved.name, saved.format))

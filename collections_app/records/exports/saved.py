"""Create the file of a saved export for a run."""

from typing import Any

from collections_app.files.names import saved_export_name
from collections_app.models import Collection, Export, Run, SavedExport
from collections_app.records.exports.create import create_export, deliverable
from collections_app.records.formats.export_formats import ExportSpec, Format
from collections_app.sources import Deliverable


def saved_export(collection: Collection, name: str) -> SavedExport | None:
    """Return the saved export with this name in addresses, or None."""
    slug, _, file_format = name.rpartition(".")
    return SavedExport.objects.filter(collection=collection, slug=slug, format=file_format).first()


def fields_of(spec: ExportSpec) -> dict[str, Any]:
    """Return the fields of SavedExport that store a spec."""
    return {
        "format": spec.format.value,
        "columns": list(spec.columns),
        "excel": spec.excel,
        "separator": spec.separator,
        "search": spec.search,
        "filters": list(spec.filters),
    }


def spec_of_saved(saved: SavedExport) -> ExportSpec:
    """Return the spec of a saved export. Later runs may lack some of its columns."""
    return ExportSpec(
        Format(saved.format),
        tuple(saved.columns),
        saved.excel,
        saved.separator,
        saved.search,
        tuple(saved.filters),
        allows_missing=True,
    )


def create_saved(run: Run, saved: SavedExport) -> Export:
    """Return a saved export of a run. See create_export()."""
    return create_export(run, spec_of_saved(saved))


def deliverable_of_saved(export: Export, saved: SavedExport) -> Deliverable:
    """Return a ready export as a file with the name under which it was saved."""
    run = export.run
    return deliverable(export, saved_export_name(run.collection.name, run.number, saved.name, saved.format))

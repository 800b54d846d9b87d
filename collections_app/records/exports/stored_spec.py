"""The fields that store the spec of an export, or of a saved export."""

from typing import Any

from collections_app.models import Export, SavedExport
from collections_app.records.formats.export_formats import ExportSpec, Format


def fields_of(spec: ExportSpec) -> dict[str, Any]:
    """Return the fields that store a spec, except for `allows_missing`, which saved exports always do."""
    return {
        "format": spec.format.value,
        "columns": list(spec.columns),
        "excel": spec.excel,
        "separator": spec.separator,
        "search": spec.search,
        "filters": list(spec.filters),
    }


def spec_of(stored: Export | SavedExport) -> ExportSpec:
    """Return the spec that is stored. Later runs may lack some columns of a saved export."""
    return ExportSpec(
        Format(stored.format),
        tuple(stored.columns),
        stored.excel,
        stored.separator,
        stored.search,
        tuple(stored.filters),
        allows_missing=isinstance(stored, SavedExport) or stored.allows_missing,
    )

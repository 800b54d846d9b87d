"""Removing what was made of a run's records, when the run itself is deleted."""

from collections_app.files.storage.cache import drop
from collections_app.models import Run
from collections_app.records.preview.facts import name_of_facts
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.table import name_of_table


def made_of(run: Run) -> list[str]:
    """Return the names of what may have been made of a run's records. Needs with_files()."""
    table = name_of_table(files_of_records(run))
    return [table, name_of_facts(table)]


def forget(names: list[str]) -> None:
    """Remove these from this machine; what another one has, its cache drops in time."""
    for name in names:
        drop(name)

"""Remove the cached files of a run when it is deleted."""

from collections_app.files.storage.cache import drop
from collections_app.models import Run
from collections_app.records.preview.facts import name_of_facts
from collections_app.records.preview.histograms import names_of_histograms
from collections_app.records.preview.records import files_of_records
from collections_app.records.preview.table import names_of_tables


def cache_names(run: Run) -> list[str]:
    """Return the names of the cache entries that may exist for a run. Needs with_files()."""
    tables = names_of_tables(files_of_records(run))
    return [*tables, *map(name_of_facts, tables), *names_of_histograms(tables[-1])]


def delete_cached(names: list[str]) -> None:
    """Delete cache entries on this machine. Other machines evict them in time."""
    for name in names:
        drop(name)

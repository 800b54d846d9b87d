"""The names of result files: what a run's are called."""

from collections_app.formats.file_names import (
    CATEGORY_CSV,
    CATEGORY_LIST,
    fitted,
    kept_name,
    printable,
    safe,
)

__all__ = ["CATEGORY_CSV", "CATEGORY_LIST", "archive_name", "kept_name", "page_name", "printable", "safe"]


def page_name(collection_name: str, run_number: int, page: int) -> str:
    """Return the name of a run's page file."""
    return fitted(safe(collection_name), f"_{run_number}_Results_Page_{page}.json")


def archive_name(collection_name: str, run_number: int) -> str:
    """Return the name of the ZIP of a run's pages."""
    return fitted(safe(collection_name), f"_{run_number}_Results_All_Pages.zip")

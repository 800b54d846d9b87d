"""What is looked at when the site starts: whether its settings lead to something that works.

It takes a look at other machines, so it runs where Django looks at the database as well: in `serve` and
`migrate`, and in `check --database default`.
"""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from collections_app.result_sets.storage import results, storage_reason
from collections_app.sources.local import try_out


def check_results_storage(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Say where the results storage that the settings name can't be used."""
    if not (databases and settings.RESULTS_STORAGE_URL):
        return []
    try:
        results().check()
    except OSError as error:
        return [
            Error(
                f"The results storage can't be used: {storage_reason(error)}.",
                hint="Look at RESULTS_STORAGE_URL: its host, its bucket or folder, its key and secret; and "
                "whether the key may list, read, write and delete.",
                id="results.E001",
            )
        ]
    try:
        problem = "" if try_out() else "what is read isn't what was written"
    except OSError as error:
        problem = storage_reason(error)
    if not problem:
        return []
    return [
        Error(
            f"Results can't be written to the results storage: {problem}.",
            hint="Let the key of RESULTS_STORAGE_URL read, write and delete objects, or give another key. "
            "Of a folder, look at its owner and whether the disk is full.",
            id="results.E002",
        )
    ]

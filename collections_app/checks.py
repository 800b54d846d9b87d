"""What is looked at when the site starts: whether its settings lead to something that works.

It takes a look at other machines, so it runs where Django looks at the database as well: in `serve` and
`migrate`, and in `check --database default`.
"""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error

from collections_app.result_sets.storage import results


def check_results_storage(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Say where the results storage that the settings name can't be used."""
    if not (databases and settings.RESULTS_STORAGE_URL):
        return []
    try:
        results().check()
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        return [
            Error(
                f"The results storage can't be used: {error.strerror or error}{place}.",
                hint="Look at RESULTS_STORAGE_URL: its host, its bucket or folder, its key and secret; and "
                "whether the key may list, read, write and delete.",
                id="results.E001",
            )
        ]
    return []

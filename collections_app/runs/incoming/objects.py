"""Files that contain one object instead of a list."""

from contextlib import suppress

from collections_app.records.formats.json_records import WRAPPER, InvalidRecords, read_keys
from collections_app.runs.incoming.files import Incoming

# The keys that surround the data of every API response.
_ENVELOPE = {"code", "data", "status"}
_A_PAGE = "A page is a list of records: [{...}, {...}]."


def why_no_page(file: Incoming) -> str:
    """Return why a file that contains one object isn't a page of products. Raises Unusable."""
    keys = set()
    with file.open(lambda size: None) as stream, suppress(InvalidRecords):
        for key, _ in read_keys(stream):
            keys.add(key)
            if key == WRAPPER:
                return f"{file.label} is a category list, and this collection scrapes products."
            if keys >= _ENVELOPE:
                return (
                    f"{file.label} is an API response with a list of runs. Import the files that it links "
                    f"to. {_A_PAGE}"
                )
    # Includes objects that are damaged or too large to be searched.
    return f"{file.label} is one object. {_A_PAGE} JSON Lines files need the extension .jsonl."

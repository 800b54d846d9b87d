"""Files that operating systems add to folders and ZIPs."""

import re

_SEPARATOR = re.compile(r"[/\\]")
# The folder that macOS adds to ZIPs.
_MAC_FOLDER = "__MACOSX"
# For a file's attributes, macOS adds a file with this prefix.
_MAC_PREFIX = "._"
_NAMES = {".ds_store", "thumbs.db", "desktop.ini"}


def is_system_file(path: str) -> bool:
    """Whether an operating system added the file, so that it isn't a result."""
    *folders, name = _SEPARATOR.split(path)
    return _MAC_FOLDER in folders or name.startswith(_MAC_PREFIX) or name.lower() in _NAMES

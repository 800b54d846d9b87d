"""The paths of values in records, as DuckDB writes them."""

from collections_app.records.formats.flatten import KeyPath


def json_path(path: KeyPath) -> str:
    """Return a path for DuckDB: a JSON pointer (RFC 6901), or a path that can't contain an empty key.

    To a pointer, a number is also the index of an item in a list.
    """
    keys = keys_of(path)
    if "" not in keys and any(key.isdecimal() for key in keys[1:]):
        return "$" + "".join(f".{_json_string(key)}" for key in keys)
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def _json_string(key: str) -> str:
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def keys_of(path: KeyPath) -> tuple[str, ...]:
    """Return the keys of a path, from the outermost one."""
    return (path,) if isinstance(path, str) else path


# A path that no record has.
NOTHING = json_path("")

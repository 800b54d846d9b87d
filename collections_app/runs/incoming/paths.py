"""Files to import that are on this machine, by their paths."""

from pathlib import Path

from collections_app.runs.incoming.files import Incoming, Unusable, shown


def files_at(paths: list[Path]) -> list[Incoming]:
    """Return the files at these paths. Raises Unusable if one isn't a file, or is listed twice; OSError."""
    first: dict[tuple[int, int], Path] = {}
    for path in paths:
        _check_is_file(path)
        status = path.stat()
        other = first.setdefault((status.st_dev, status.st_ino), path)
        if other is not path:
            raise Unusable(f"{shown(other)} and {shown(path)} are the same file. Pass it once.")
    return [_file_at(path) for path in paths]


def _check_is_file(path: Path) -> None:
    if not path.exists():
        raise Unusable(f"The file {shown(path)} doesn't exist.")
    if path.is_dir():
        raise Unusable(f"{shown(path)} is a folder. Pass the files in it, such as {shown(path / '*.json')}.")
    if not path.is_file():
        raise Unusable(f"{shown(path)} is not a file.")


def _file_at(path: Path) -> Incoming:
    return Incoming(shown(path), str(path.parent), path.name, path.stat().st_size, lambda: path.open("rb"))

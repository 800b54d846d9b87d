"""Checks of files before they are imported."""

from django.template.defaultfilters import filesizeformat

from collections_app.files.names import printable
from collections_app.models import Collection
from collections_app.runs.incoming.files import Incoming, Unusable
from collections_app.runs.incoming.forms import Form
from collections_app.runs.incoming.objects import with_lists
from collections_app.system.disk import free_space


def checked(collection: Collection, files: list[Incoming], records_at: str | None) -> list[Incoming]:
    """Return the files, with `records_at` set for those that contain an object.

    `records_at` is the path of that list, or None to find it. Raises NoListChosen, Unusable if the files
    can't be a run of this collection.
    """
    _check_forms(files)
    if collection.is_category and len(files) > 1:
        name = printable(collection.name)
        raise Unusable(f"{name} is a category collection, so a run has one list, not {len(files)} files.")
    _check_room(files)
    if records_at is not None and not any(file.form is Form.OBJECT for file in files):
        raise Unusable(f"{files[0].label} is {files[0].form.value}, not an object that contains a list.")
    return with_lists(files, records_at, is_category=collection.is_category)


def _check_forms(files: list[Incoming]) -> None:
    lines = next((file for file in files if file.form is Form.LINES), None)
    other = next((file for file in files if file.form is not Form.LINES), None)
    if lines and other:
        raise Unusable(
            f"{lines.label} is JSON Lines, but {other.label} isn't. All files of a run must have the same "
            "type."
        )


def _check_room(files: list[Incoming]) -> None:
    """Raise Unusable if the files don't fit."""
    size = sum(file.size for file in files)
    free = free_space()
    if free is not None and size > free:
        raise Unusable(
            f"{files[0].label}{' and the other files need' if len(files) > 1 else ' needs'} "
            f"{filesizeformat(size)}, but the results storage has only {filesizeformat(free)} free."
        )

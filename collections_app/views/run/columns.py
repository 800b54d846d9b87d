"""The columns that a run's page shows, and those to choose from."""

from collections.abc import Sequence

from collections_app.records.column_roles import shown_first
from collections_app.records.formats.flatten import FlatRecord, KeyPath
from collections_app.records.preview.columns import ColumnList, paths_of

_SHOWN_BY_DEFAULT = 12

# The columns to show, and the paths of their values, or None if no record on the page has the column.
ShownColumns = dict[str, KeyPath | None]


def shown_columns(
    known: ColumnList, chosen: Sequence[str], saved: Sequence[str], values: Sequence[FlatRecord]
) -> ShownColumns:
    """Return the columns to show, ordered by meaning, then those that only the URL names.

    If the URL names none, return the user's saved columns that these records have.
    """
    paths = dict(zip(known.names, known.paths, strict=True))
    ordered = shown_first(known.names)
    chosen = chosen or [name for name in saved if name in paths]
    if not chosen:
        return {name: paths[name] for name in ordered[:_SHOWN_BY_DEFAULT]}
    wanted = set(chosen)
    others = [name for name in chosen if name not in paths]
    return {name: paths[name] for name in ordered if name in wanted} | dict(
        zip(others, paths_of(others, values), strict=True)
    )


def column_choices(
    known: Sequence[str], chosen: Sequence[str], shown: ShownColumns
) -> list[tuple[str, bool]]:
    """Return every column to choose from, and whether it's shown."""
    return [(name, name in shown) for name in dict.fromkeys([*shown_first(known), *chosen])]

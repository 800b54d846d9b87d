"""The rows in the table of changes."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.urls import reverse

from collections_app.models import Collection, Run
from collections_app.records.tracking.compare import Entry
from collections_app.records.tracking.key_text import shown_key
from collections_app.records.tracking.kinds import ChangeKind
from collections_app.views.changes.cells import amount_text, percent_text, values_of
from collections_app.views.changes.words import KIND_NAMES
from collections_app.views.products.address import product_address
from collections_app.views.run.cells import Cell


@dataclass(frozen=True)
class ChangeRow:
    """A change of a product as a page shows it."""

    title: str
    key: str
    kind: ChangeKind
    name: str  # of the kind, or "" if the column says it all
    column: str  # "" if the whole product is new or missing
    was: Cell
    now: Cell
    percent: str
    amount: str
    product_address: str
    record: int  # the record's number
    record_address: str


def change_rows(entries: Iterable[Entry], run: Run, since: Run) -> list[ChangeRow]:
    """Return the rows of changes between two runs."""
    now, before = (reverse("run", args=[each.collection_id, each.number]) for each in (run, since))
    return [_row(entry, run.collection, now, before) for entry in entries]


def _row(entry: Entry, collection: Collection, now: str, before: str) -> ChangeRow:
    number, run = (entry.number, now) if entry.number else (entry.number_before or 0, before)
    was, is_now = values_of(entry, collection.currency)
    return ChangeRow(
        title=entry.title,
        key=shown_key(entry.key),
        kind=entry.kind,
        name="" if entry.kind == ChangeKind.OTHER else KIND_NAMES[entry.kind],
        column=entry.column or "",
        was=was,
        now=is_now,
        percent=percent_text(entry),
        amount=amount_text(entry, collection.currency),
        product_address=product_address(collection.pk, entry.key),
        record=number,
        record_address=f"{run}records/{number}",
    )

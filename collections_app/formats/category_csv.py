"""A category list as CSV, record by record."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

COLUMNS = (
    "asin",
    "parent_asin",
    "is_variant",
    "is_brand",
    "is_store",
    "is_prime",
    "seller_name",
    "price_cents",
    "in_stock",
)


def write_category_csv(records: Iterable[Mapping[str, Any]], out: BinaryIO) -> None:
    """Write the nine columns of each record as CSV (RFC 4180, UTF-8); `out` stays open.

    Keys that are no column are left out; a missing one is an empty cell.
    """
    # Half a surrogate pair, which JSON can hold and UTF-8 can't, becomes a question mark.
    text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="")
    try:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([_cell(record.get(column)) for column in COLUMNS] for record in records)
    finally:
        text.detach()


def _cell(value: Any) -> Any:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer():
            return int(value)
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return value

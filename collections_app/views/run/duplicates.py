"""The records of a run that can't be compared: duplicates, and records without a key."""

import re
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, TrackingSettings
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import TooManyQueries, queries_of
from collections_app.records.preview.engine import FACTS, QueryTimeout, UnreadableFile, open_database
from collections_app.records.tracking.duplicates import Listed, duplicates, without_key
from collections_app.records.tracking.keys import Key, check_key, texts_of
from collections_app.records.tracking.stored_slices import SliceUnavailable, existing_slice
from collections_app.views.run.lookup import find_run
from collections_app.views.run.table import render_result

_PAGE = 100
# Enough for a million records on a busy machine.
_SECONDS = 20.0
_TOO_SLOW = (
    "This run has too many records to list these here. Export the columns of the key as CSV or Parquet, and "
    "look for them in the file."
)
_LISTS = {"duplicates": duplicates, "without-key": without_key}
_NUMBER = re.compile(r"[1-9]\d{0,9}", re.ASCII)


@collection_member(Action.SEE)
@require_safe
def run_duplicates(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """List the records whose key other records of the run have, too, after the record `after`.

    With `show=without-key`, list those that lack a part of the key. htmx gets the rows only.
    """
    shown, after = _parameters(request)
    run = find_run(collection, number)
    tracking = TrackingSettings.objects.filter(collection=collection).first()
    key = tracking.key if tracking else ()
    context: dict[str, Any] = {
        "collection": collection,
        "run": run,
        "key": key,
        "shown": shown,
        "after": after,
    }
    if run.is_ready and key:
        with queries_of(request.user.pk):
            context |= _read(run, key, shown, after)
    is_refused = "is_refused" in context
    return render_result(
        request, "run/duplicates.html", "run/_duplicates.html", context, is_refused=is_refused
    )


def _parameters(request: MemberRequest) -> tuple[str, int | None]:
    shown, after = request.GET.get("show", "duplicates"), request.GET.get("after", "")
    if shown not in _LISTS:
        raise BadRequest("Unknown list. Use “duplicates” or “without-key”.")
    if after and not _NUMBER.fullmatch(after):
        raise BadRequest("Invalid “after” parameter. It must be the number of a record.")
    return shown, int(after) if after else None


def _read(run: Run, key: Key, shown: str, after: int | None) -> dict[str, Any]:
    try:
        return _rows(run, key, shown, after)
    except (SliceUnavailable, TooManyQueries) as error:
        return {"problem": str(error)} | ({"is_refused": True} if isinstance(error, TooManyQueries) else {})
    except QueryTimeout:
        return {"problem": _TOO_SLOW}
    except (UnreadableFile, OSError):
        return {"problem": "The records can't be read. Try again in a moment."}


def _rows(run: Run, key: Key, shown: str, after: int | None) -> dict[str, Any]:
    file = existing_slice(run)
    if file is None:
        return {"is_waiting": True}
    with open_database(file.path, seconds=_SECONDS, semaphore=FACTS) as database:
        found = _LISTS[shown](database, file, key, after=after, most=_PAGE + 1)
        check = check_key(database, file, key) if after is None else None
    rows, address = found[:_PAGE], reverse("run_duplicates", args=[run.collection_id, run.number])
    return {
        "rows": [_row(each) for each in rows],
        "check": check,
        "more": f"{address}?show={shown}&after={rows[-1].number}" if len(found) > _PAGE else "",
    }


@dataclass(frozen=True)
class DuplicateRow:
    """A record in the list. `key` is empty if the record lacks a part of it."""

    number: int
    key: str
    title: str
    records: int


def _row(listed: Listed) -> DuplicateRow:
    key = " · ".join(texts_of(listed.key)) if listed.key else ""
    return DuplicateRow(listed.number, key, listed.title, listed.records)

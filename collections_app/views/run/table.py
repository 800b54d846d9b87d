"""Read from the table of a run's records, or say why that isn't possible yet."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpResponse

from collections_app.models import ResultFile
from collections_app.people.access import MemberRequest
from collections_app.records.preview.concurrency import RETRY_AFTER_SECONDS, TooManyQueries
from collections_app.records.preview.engine import QueryTimeout
from collections_app.records.preview.filters import InvalidFilter
from collections_app.records.preview.table import Table, TableUnavailable, progress_of, table_of
from collections_app.system.background import StillWorking
from collections_app.views.fragments import render_fragment

# How many seconds a request waits for work in the background.
PATIENCE = 0.8


def read_table(files: Sequence[ResultFile], read: Callable[[Table], dict[str, Any]]) -> dict[str, Any]:
    """Call `read` with the table of the files, and return its result.

    If there is no table yet, return `progress`, or a `problem` and whether the query `is_refused`. Raises
    BadRequest if the records can't be filtered in this way.
    """
    try:
        return read(table_of(files, seconds=PATIENCE))
    except StillWorking:
        return {"progress": progress_of(files)}
    except TableUnavailable as problem:
        return {"problem": str(problem)}
    except QueryTimeout:
        return {"problem": "This query took too long. Use fewer search words or filters, or don't sort."}
    except InvalidFilter as problem:
        raise BadRequest(str(problem)) from None
    except TooManyQueries as problem:
        return {"problem": str(problem), "is_refused": True}


def render_result(
    request: MemberRequest, page: str, fragment: str, context: Mapping[str, Any], *, is_refused: bool
) -> HttpResponse:
    """Render a page or a fragment, with status 429 if the user has too many queries running."""
    response = render_fragment(request, page, fragment, context)
    if is_refused:
        response.status_code = 429
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response

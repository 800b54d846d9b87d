"""All pages of a run, for runs whose row has no room for them."""

import re

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from collections_app.models import Collection, FileKind, ResultFile, Run
from collections_app.models.runs import prefetch_first_files
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.download.rows import files_address
from collections_app.views.fragments import render_fragment, wants_fragment
from collections_app.views.run.lookup import find_ready_run

PAGES_SHOWN = 500

# More digits than the number of any page, and few enough for the database.
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


@collection_member(Action.SEE)
@require_safe
def run_pages(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show the run's first pages, or those `after` a page. htmx gets the links only.

    `page` redirects to the file of that page. With `select`, htmx also gets checkboxes, and with
    `open`, the pages of a row that is opened.
    """
    run = find_ready_run(collection, number)
    if collection.is_category:
        raise Http404("Category runs have a list and a CSV file, but no pages.")
    requested = request.GET.get("page", "").strip()[:20]
    if "page" in request.GET:
        file = run.files.filter(kind=FileKind.PAGE, position=_number(requested)).first()
        if file is not None:
            return redirect("result_file", collection.pk, number, file.name)
    return _render(request, collection, run, requested)


def _render(request: MemberRequest, collection: Collection, run: Run, requested: str) -> HttpResponse:
    after = request.GET.get("after", "")
    if after and not _NUMBER.fullmatch(after):
        raise BadRequest("Invalid “after” parameter. It must be the number of a page.")
    prefetch_first_files([run], 0)  # the files that aren't pages, for the number of pages
    found = run.files.filter(kind=FileKind.PAGE, position__gt=_number(after)).order_by("position")
    pages = list(found[:PAGES_SHOWN])
    last = pages[-1].position if pages else _number(after)
    address = reverse("run_pages", args=[collection.pk, run.number])
    is_fragment = wants_fragment(request)
    context = {
        "collection": collection,
        "run": run,
        "pages": pages,
        "page_count": run.page_count,
        "more": max(0, run.page_count - last),
        "after": last,
        "after_page": _number(after),
        "files": files_address(collection, run.number),
        "pages_address": address,
        "more_address": f"{address}?after={last}",
        "selectable": any(page.is_stored for page in pages) and (not is_fragment or "select" in request.GET),
        "announced": _announcement(pages, run) if is_fragment else "",
        "requested": requested,
        "problem": _problem(run, requested) if "page" in request.GET else "",
    }
    fragment = "download/_opened_pages.html" if "open" in request.GET else "download/_pages.html"
    return render_fragment(request, "run/pages.html", fragment, context)


def _announcement(pages: list[ResultFile], run: Run) -> str:
    if not pages:
        return ""
    first, last = pages[0].position, pages[-1].position
    return f"Pages {first:,} to {last:,} of {run.page_count:,} shown"


def _problem(run: Run, requested: str) -> str:
    number = int(requested) if _NUMBER.fullmatch(requested) else None
    hint = "It has one page." if run.page_count == 1 else f"It has pages 1 to {run.page_count:,}."
    if number is None:
        return f"Enter a page number of run {run.number}. {hint}"
    return f"Run {run.number} has no page {number:,}. {hint}"


def _number(text: str) -> int:
    """Return the number, or 0, which isn't the number of a page."""
    return int(text) if _NUMBER.fullmatch(text) else 0

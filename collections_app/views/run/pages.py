"""All pages of a run: those that its row on the download page has no room for."""

import re

from django.core.exceptions import BadRequest
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe

from collections_app.models import Collection, FileKind, NotDownloadable, ResultFile, Run
from collections_app.models.runs import prefetch_first_files
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.download.rows import files_address

PAGES_SHOWN = 500

# What the database holds of a position, and more pages than any run has.
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


@collection_member(Action.SEE)
@require_safe
def run_pages(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Show the run's first pages, or those `after` a page; htmx gets the pills alone.

    On the page they can be selected; htmx says by `select` whether it asks for that page, or for a run's row.

    `page` leads to the file of the page of that number; where there is none, the page says so.
    """
    try:
        run = collection.runs.ready_run(number)
    except NotDownloadable as error:
        raise Http404(str(error)) from None
    if collection.is_category:
        raise Http404("The runs of a category have a list and a CSV, but no pages.")
    wanted = request.GET.get("page", "").strip()[:20]
    if "page" in request.GET:
        file = run.files.filter(kind=FileKind.PAGE, position=_number(wanted)).first()
        if file is not None:
            return redirect("result_file", collection.pk, number, file.name)
    return _show(request, collection, run, wanted)


def _show(request: MemberRequest, collection: Collection, run: Run, wanted: str) -> HttpResponse:
    after = request.GET.get("after", "")
    if after and not _NUMBER.fullmatch(after):
        raise BadRequest("This address is damaged: its “after” part names no page.")
    prefetch_first_files([run], 0)  # what is no page, which tells how many pages there are
    found = run.files.filter(kind=FileKind.PAGE, position__gt=_number(after)).order_by("position")
    pages = list(found[:PAGES_SHOWN])
    shown_to = pages[-1].position if pages else _number(after)
    address = reverse("run_pages", args=[collection.pk, run.number])
    fragment = request.htmx and not request.htmx.history_restore_request
    context = {
        "collection": collection,
        "run": run,
        "pages": pages,
        "page_count": run.page_count,
        "more": max(0, run.page_count - shown_to),
        "after": shown_to,
        "after_page": _number(after),
        "files": files_address(collection, run.number),
        "pages_address": address,
        "more_address": f"{address}?after={shown_to}",
        "selectable": any(page.is_stored for page in pages) and (not fragment or "select" in request.GET),
        "announced": _announcement(pages, run) if fragment else "",
        "wanted": wanted,
        "problem": _problem(run, wanted) if "page" in request.GET else "",
    }
    response = render(request, "download/_pages.html" if fragment else "run/pages.html", context)
    # A fragment and the whole page share an address.
    patch_vary_headers(response, ["HX-Request"])
    return response


def _announcement(pages: list[ResultFile], run: Run) -> str:
    if not pages:
        return ""
    first, last = pages[0].position, pages[-1].position
    return f"Pages {first:,} to {last:,} of {run.page_count:,} shown"


def _problem(run: Run, wanted: str) -> str:
    number = int(wanted) if _NUMBER.fullmatch(wanted) else None
    there = "It has one page." if run.page_count == 1 else f"Its pages are 1 to {run.page_count:,}."
    if number is None:
        return f"Give the number of a page of run {run.number}. {there}"
    return f"Run {run.number} has no page {number:,}. {there}"


def _number(text: str) -> int:
    """Return the number, or 0, which is no page's."""
    return int(text) if _NUMBER.fullmatch(text) else 0

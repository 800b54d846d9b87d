"""Updates of the list of runs."""

import re

from django.http import HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, Verdict
from collections_app.models.runs import RunQuerySet
from collections_app.models.verdicts import with_verdicts
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.changes.summary import ChangesSummary, changes_summaries
from collections_app.views.download.cursor import format_cursor, parse_cursor
from collections_app.views.download.filter import RunFilter
from collections_app.views.download.menu import preferred_format
from collections_app.views.download.rows import may_delete_runs, run_rows, version
from collections_app.views.live import news_of, parse_versions, refresh_in_background
from collections_app.views.page_size import PAGE_SIZE

_VERSION = re.compile(r"(\d{1,18})\.([0-9a-f]{8})", re.ASCII)


# Counts as a file, so that polling doesn't switch the current team.
@collection_member(Action.SEE, is_file=True)
@require_safe
@never_cache
def live(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Return the rows that have changed and the number of new runs, or 204 if nothing has changed.

    `runs` lists the runs on the page that are unfinished or haven't been judged and compared, with the
    versions of their rows. `newest` is the newest run on the page, and `new` is the number of newer runs that
    it already announces. With `bring`, the rows of the newer runs are returned too. The page's filter applies
    to newer runs.
    """
    watched = parse_versions(_VERSION, request, "runs")
    refresh_in_background(collection)
    runs = list(with_verdicts(collection.runs.filter(number__in=watched))) if watched else []
    gone = sorted(watched.keys() - {run.number for run in runs})
    verdicts = {run.pk: run.verdict for run in runs if hasattr(run, "verdict")}
    changes = changes_summaries(runs, verdicts)
    changed = [
        run for run in runs if version(run, verdicts.get(run.pk), changes.get(run.pk)) != watched[run.number]
    ]
    newer = _newer(request, collection)
    count = newer[: PAGE_SIZE + 1].count()
    added = list(newer.newest_first()[:PAGE_SIZE]) if "bring" in request.GET else []
    if not changed and not gone and not added and str(count) == request.GET.get("new", "0"):
        return HttpResponse(status=204)
    rows = run_rows(
        collection,
        [*changed, *added],
        preferred=preferred_format(request),
        may_delete=may_delete_runs(request.membership, collection),
        loads_sizes=not collection.refresh_problem,
    )
    return JsonResponse(
        {
            "rows": [
                {
                    "number": run.number,
                    "html": row,
                    "news": _news(run, verdicts.get(run.pk), changes.get(run.pk)),
                }
                for run, row in zip(changed, rows, strict=False)
            ],
            "gone": gone,
            "new": 0 if added else count,
            "brought": rows[len(changed) :],
            "newest": format_cursor(added[0].cursor) if added else request.GET.get("newest", ""),
        }
    )


def _news(run: Run, verdict: Verdict | None, changes: ChangesSummary | None) -> str:
    shown = [*([verdict.label] if verdict else []), *([changes.text] if changes else [])]
    return f"Run {run.number}: {', '.join(shown)}." if shown else news_of(run)


def _newer(request: MemberRequest, collection: Collection) -> RunQuerySet:
    """Return the runs that are newer than those on the page, or none if the page shows older runs."""
    runs = RunFilter.from_query(request.GET, collection.team.time_zone).apply(collection.runs.all())
    if "newest" not in request.GET:
        return runs.none()
    newest = request.GET["newest"]
    return runs.after(parse_cursor(newest) if newest else None)

"""What has become of the runs that somebody looks at: one small request for all of them, again and again."""

import re
from datetime import timedelta

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from collections_app.models import Collection, Run, State
from collections_app.models.runs import RunQuerySet
from collections_app.people.access import NOT_YOURS, Action, MemberRequest, collection_member, team_member
from collections_app.sources import source_of
from collections_app.views.collections.list import with_latest_runs
from collections_app.views.download.filter import RunFilter
from collections_app.views.download.page import RUNS_SHOWN, format_cursor, parse_cursor
from collections_app.views.download.rows import may_delete_runs, run_rows, version
from collections_app.views.run.page import run_context

# How long an account's list is left alone between two looks that nobody asked for.
ACCOUNT_REST = timedelta(seconds=15)

# More rows than a page gets by loading more for a while; what follows stays as it is.
_MOST_ROWS = 200

_WATCHED = re.compile(r"(\d{1,18})\.([0-9a-f]{8})", re.ASCII)
_SEEN = re.compile(rf"(\d{{1,18}})\.(none|\d{{1,18}}\.(?:{'|'.join(State.values)}))", re.ASCII)


# A file, in that it makes no team the current one: nobody goes anywhere by it.
@collection_member(Action.SEE, is_file=True)
@require_safe
@never_cache
def live(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Answer with the rows that have changed and how many runs are new, or 204 where all is as it was.

    `runs` are the numbers of the unfinished runs on the page with their rows' versions; `newest`, the newest
    run that was there when the page was made; `new`, how many newer ones it speaks of already. With `bring`,
    the rows of the newer ones come too. The page's filter goes for the new ones.
    """
    watched = _parse(_WATCHED, request, "runs")
    _look_at_the_account(collection)
    runs = list(collection.runs.filter(number__in=watched)) if watched else []
    gone = sorted(watched.keys() - {run.number for run in runs})
    changed = [run for run in runs if version(run) != watched[run.number]]
    newer = _newer(request, collection)
    count = newer[: RUNS_SHOWN + 1].count()
    brought = list(newer.newest_first()[:RUNS_SHOWN]) if "bring" in request.GET else []
    if not changed and not gone and not brought and str(count) == request.GET.get("new", "0"):
        return HttpResponse(status=204)
    rows = run_rows(
        collection,
        [*changed, *brought],
        may_delete=may_delete_runs(request.membership, collection),
        asks_for_sizes=not collection.refresh_problem,
    )
    return JsonResponse(
        {
            "rows": [
                {"number": run.number, "html": row, "news": _news(run)}
                for run, row in zip(changed, rows, strict=False)
            ],
            "gone": gone,
            "new": 0 if brought else count,
            "brought": rows[len(changed) :],
            "newest": format_cursor(brought[0].cursor) if brought else request.GET.get("newest", ""),
        }
    )


@collection_member(Action.SEE, is_file=True)
@require_safe
@never_cache
def run_live(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Answer with what a run's page shows, or 204 where that is still the version that was `seen`."""
    _look_at_the_account(collection)
    run = collection.runs.filter(number=number).first()
    if run is not None and version(run) == request.GET.get("seen"):
        return HttpResponse(status=204)
    context = run_context(request, collection, number)
    return JsonResponse(
        {
            "html": render_to_string("run/_run.html", context, request),
            "news": [news] if (news := _news(context["run"])) else [],
        }
    )


@team_member(Action.SEE)
@require_safe
@never_cache
def collections_live(request: MemberRequest) -> HttpResponse:
    """Answer with the latest runs of the collections where these are others than were `seen`, or 204."""
    seen = _parse(_SEEN, request, "seen")
    # Those of the page, whichever team is the current one by now.
    teams = [membership.team_id for membership in request.memberships]
    found = with_latest_runs(Collection.objects.filter(team__in=teams, pk__in=seen).by_name())
    if len(found) < len(seen):
        raise PermissionDenied(NOT_YOURS)
    changed = [each for each in found if each.latest != seen[each.pk]]
    if not changed:
        return HttpResponse(status=204)
    return JsonResponse(
        [
            {
                "id": each.pk,
                "html": render_to_string("collections/_latest.html", {"collection": each}),
                "news": f"{each}: {_latest_news(each.latest_run, seen[each.pk])}",
            }
            for each in changed
        ],
        safe=False,
    )


def _parse(pattern: re.Pattern[str], request: MemberRequest, name: str) -> dict[int, str]:
    """Return what the page has, by the numbers of runs or collections. Raises BadRequest."""
    text = request.GET.get(name, "")
    items = text.split(",") if text else []
    found = [pattern.fullmatch(item) for item in items]
    if len(items) > _MOST_ROWS or None in found:
        raise BadRequest(f"This address is damaged: its “{name}” part doesn't say what the page has.")
    return {int(match[1]): match[2] for match in found if match}


def _newer(request: MemberRequest, collection: Collection) -> RunQuerySet:
    """Return the runs that are newer than those on the page; none where that shows older ones."""
    runs = RunFilter.of(request.GET).runs(collection.runs.all())
    if "newest" not in request.GET:
        return runs.none()
    newest = request.GET["newest"]
    return runs.after(parse_cursor(newest) if newest else None)


def _look_at_the_account(collection: Collection) -> None:
    """Have an account's list looked at in the background, at its own pace however many people look here."""
    if not collection.is_remote:
        return
    tried_at = collection.refresh_tried_at
    if tried_at is None or timezone.now() - tried_at > ACCOUNT_REST:
        source_of(collection).refresh(collection, deadline=timedelta(0))


def _news(run: Run) -> str:
    """Return what is said aloud of a run that has changed: an end, but not each step."""
    if run.state == State.READY:
        return f"Run {run.number} completed."
    return f"Run {run.number} failed." if run.state == State.FAILED else ""


def _latest_news(run: Run | None, seen: str) -> str:
    """Return what is said aloud where a collection's latest run is another than was seen, or has ended."""
    if run is None:
        return "No run is left."
    number = seen.partition(".")[0]
    if number.isdecimal() and int(number) > run.number:
        return f"Run {run.number} is the latest now."
    return _news(run) or f"Run {run.number} started."

"""Choose the key of a collection, and check it against the newest runs."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from collections_app.models import Collection, Slice, SliceState, State
from collections_app.models.tracking import set_key
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.preview.concurrency import RETRY_AFTER_SECONDS, TooManyQueries, queries_of
from collections_app.records.preview.engine import QueryTimeout, UnreadableFile
from collections_app.records.tracking.keys import Key
from collections_app.records.tracking.run_checks import NewestRuns
from collections_app.records.tracking.stored_slices import SliceUnavailable
from collections_app.views.settings.key_facts import KeyFacts, key_facts
from collections_app.views.settings.key_lines import candidate_line, check_line

_MOST_COLUMNS = 5
_READ_ERRORS = (SliceUnavailable, TooManyQueries, QueryTimeout, UnreadableFile, OSError)


@collection_member(Action.SEE)
@require_safe
def collection_key(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show how well the key names the products of the newest runs. Also check each `column` together."""
    return _page(request, collection, tuple(request.GET.getlist("column")))


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def collection_key_save(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Save each `column` as the key. With `suggested`, use the suggested key instead."""
    runs = NewestRuns(collection)
    if "suggested" in request.POST:
        return _use_suggestion(request, collection, runs)
    key = tuple(request.POST.getlist("column"))
    if _mistake(runs.newest, key):
        return _page(request, collection, key)
    set_key(collection, key, by=request.user)
    messages.success(
        request, f"Saved the key of “{collection}”. Its runs are compared again in the background."
    )
    return redirect("collection_key", collection.pk)


def _use_suggestion(request: MemberRequest, collection: Collection, runs: NewestRuns) -> HttpResponse:
    try:
        with queries_of(request.user.pk):
            key = runs.suggestion()
    except _READ_ERRORS as error:
        messages.error(request, _problem(error))
    else:
        set_key(collection, key, by=request.user, is_suggested=True)
        messages.success(request, f"“{collection}” uses the suggested key again.")
    return redirect("collection_key", collection.pk)


def _page(request: MemberRequest, collection: Collection, key: Key) -> HttpResponse:
    runs, facts = NewestRuns(collection), key_facts(collection)
    context: dict[str, Any] = {"collection": collection, "key_facts": facts, "chosen": key}
    if runs.newest is None:
        context |= {"state": _missing(collection)}
    else:
        context |= {
            "newest": runs.newest.run,
            "mistake": _mistake(runs.newest, key) if key or _is_post(request) else "",
        }
        with queries_of(request.user.pk):
            context |= _read(lambda: _checks(runs, facts, () if context["mistake"] else key))
    response = render(request, "settings/key.html", context)
    if context.get("is_refused"):
        response.status_code = 429
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _is_post(request: MemberRequest) -> bool:
    return request.method == "POST"


def _mistake(newest: Slice | None, key: Key) -> str:
    """Return why these columns can't be the key, or ""."""
    if newest is None:
        return "No run has been prepared yet. Try again later."
    if not key:
        return "Choose at least one column."
    if len(key) > _MOST_COLUMNS:
        return f"Choose at most {_MOST_COLUMNS} columns."
    unknown = [column for column in key if column not in newest.columns]
    if unknown:
        return f"Run {newest.run.number} has no column “{unknown[0]}”. Choose columns of this run."
    return "Choose each column once." if len(set(key)) < len(key) else ""


def _checks(runs: NewestRuns, facts: KeyFacts, key: Key) -> dict[str, Any]:
    assert runs.newest
    current = facts.tracking.key if facts.tracking else ()
    chosen = runs.check(key) if key else []
    return {
        "current_checks": [check_line(each) for each in runs.check(current)] if current else [],
        "chosen_checks": [check_line(each) for each in chosen],
        "is_unreliable": not all(each.check.is_reliable for each in chosen),
        "candidates": [candidate_line(each) for each in runs.candidates(facts.volatile)],
        "columns": runs.newest.columns,
    }


def _read(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except _READ_ERRORS as error:
        return {"problem": _problem(error), "is_refused": isinstance(error, TooManyQueries)}


def _problem(error: Exception) -> str:
    if isinstance(error, SliceUnavailable | TooManyQueries):
        return str(error)
    if isinstance(error, QueryTimeout):
        return "Checking these runs takes too long. Try again later."
    return "The runs can't be checked. Try again in a moment."


def _missing(collection: Collection) -> dict[str, str]:
    """Return why no run can be checked: its name, and the reason of a failure."""
    failed = Slice.objects.filter(run__collection=collection, state=SliceState.FAILED)
    newest = failed.order_by("-run__created_at").first()
    if newest is not None:
        return {"name": "failed", "reason": newest.failure}
    if not collection.runs.filter(state=State.READY).exists():
        return {"name": "no_runs"}
    is_off = collection.account is not None and not collection.account.tracks_runs
    return {"name": "off" if is_off else "waiting"}

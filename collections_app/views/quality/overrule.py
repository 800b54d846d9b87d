"""Overrule the verdict of a run, and correct its kind."""

from typing import TypeVar

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection, Overrule, RunCoverage
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.quality.overrule import NoVerdict, choose_kind, overrule
from collections_app.views.run.lookup import find_ready_run

T = TypeVar("T", Overrule, RunCoverage)

_NO_VERDICT = "This run has no verdict yet. Try again in a few minutes."
_DONE = {
    Overrule.TRUSTED: "You trust run {number}. Later runs are compared with it.",
    Overrule.DISTRUSTED: "You don't trust run {number}. Later runs aren't compared with it.",
    None: "Run {number} has its own verdict again.",
}


@collection_member(Action.OVERRULE_VERDICTS)
@require_POST
def verdict_overrule(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Overrule the verdict of a run: `verdict` is "trusted", "distrusted", or "" for its own verdict."""
    run = find_ready_run(collection, number)
    what = _choice(Overrule, request.POST.get("verdict", ""), "verdict")
    try:
        overrule(run, what, by=request.user)
        messages.success(request, _DONE[what].format(number=number))
    except NoVerdict:
        messages.error(request, _NO_VERDICT)
    return redirect("run_quality", collection.pk, number)


@collection_member(Action.OVERRULE_VERDICTS)
@require_POST
def run_kind(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Correct the kind of a run: `kind` is "full", "availability", or "" to recognize it."""
    run = find_ready_run(collection, number)
    kind = _choice(RunCoverage, request.POST.get("kind", ""), "kind")
    try:
        choose_kind(run, kind)
        messages.success(request, f"Changed the kind of run {number}. Its verdict will be updated.")
    except NoVerdict:
        messages.error(request, _NO_VERDICT)
    return redirect("run_quality", collection.pk, number)


def _choice(choices: type[T], value: str, name: str) -> T | None:
    """Return the choice with this value, or None for "". Raises BadRequest."""
    if value and value not in choices.values:
        raise BadRequest(f"Unknown “{name}” parameter. Use one of: {', '.join(choices.values)}.")
    return choices(value) if value else None

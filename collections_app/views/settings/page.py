"""The settings of a collection. Each section is a form with a view of its own."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.models.conditions import prefetch_conditions
from collections_app.models.expectations import learned_rhythm, schedule_of
from collections_app.models.rhythm import LEARNED_FROM, LEAST_RUNS
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.settings.forms import AcknowledgeForm, ScheduleForm, TypeForm
from collections_app.views.settings.words import describe, late_for


@collection_member(Action.SEE)
@require_safe
def collection_settings(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the settings."""
    return settings_page(request, collection)


def settings_page(
    request: MemberRequest,
    collection: Collection,
    *,
    schedule_form: ScheduleForm | None = None,
    acknowledge_form: AcknowledgeForm | None = None,
    type_form: TypeForm | None = None,
) -> HttpResponse:
    """Return the page, with the posted form if it has errors."""
    prefetch_conditions([collection])
    schedule, time_zone = schedule_of(collection), request.membership.team.time_zone
    rhythm = schedule.rhythm if schedule else learned_rhythm(collection)
    context = {
        "collection": collection,
        "schedule": schedule,
        "rhythm": describe(rhythm, is_learned=schedule is None) if rhythm else "",
        "learned_from": collection.runs.all()[:LEARNED_FROM].count(),
        "least_runs": LEAST_RUNS,
        "late_for": late_for(collection),
        "schedule_form": schedule_form
        or ScheduleForm(initial=ScheduleForm.initial_of(schedule, rhythm, time_zone)),
        "acknowledge_form": acknowledge_form or AcknowledgeForm(time_zone=time_zone),
        "type_form": type_form or TypeForm(collection=collection),
        "time_zone": time_zone,
    }
    return render(request, "settings/page.html", context)

"""The settings of a collection. Each section is a form with a view of its own."""

from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from collections_app.models import Collection
from collections_app.models.conditions import prefetch_conditions
from collections_app.models.expectations import learned_rhythm, schedule_of
from collections_app.models.retention import leaving_of, retention_of
from collections_app.models.rhythm import LEARNED_FROM, LEAST_RUNS
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.settings.forms import (
    AcknowledgeForm,
    CurrencyForm,
    OwnerForm,
    ScheduleForm,
    TypeForm,
)
from collections_app.views.settings.key_facts import key_facts
from collections_app.views.settings.retention_form import RetentionForm
from collections_app.views.settings.saved_exports import saved_lines
from collections_app.views.settings.words import describe, kept, late_for


@collection_member(Action.SEE)
@require_safe
def collection_settings(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show the settings."""
    return settings_page(request, collection)


def settings_page(request: MemberRequest, collection: Collection, **posted: Form) -> HttpResponse:
    """Return the page. `posted` forms have errors, and replace those of the same names."""
    prefetch_conditions([collection])
    schedule, time_zone = schedule_of(collection), request.membership.team.time_zone
    rhythm = schedule.rhythm if schedule else learned_rhythm(collection)
    retention = retention_of(collection)
    context: dict[str, object] = {
        "collection": collection,
        "schedule": schedule,
        "rhythm": describe(rhythm, is_learned=schedule is None) if rhythm else "",
        "learned_from": collection.runs.all()[:LEARNED_FROM].count(),
        "least_runs": LEAST_RUNS,
        "late_for": late_for(collection),
        "schedule_form": ScheduleForm(initial=ScheduleForm.initial_of(schedule, rhythm, time_zone)),
        "acknowledge_form": AcknowledgeForm(time_zone=time_zone),
        "owner_form": OwnerForm(collection=collection),
        "currency_form": CurrencyForm(initial={"currency": collection.currency}),
        "type_form": TypeForm(collection=collection),
        "time_zone": time_zone,
        "retention": retention,
        "kept": kept(retention),
        "leaving": leaving_of(collection),
        "pinned": collection.runs.exclude(pinned_at=None).count(),
        "saved_exports": saved_lines(request, collection),
        "key_facts": key_facts(collection),
        "retention_form": RetentionForm(initial=RetentionForm.initial_of(retention)),
    }
    return render(request, "settings/page.html", context | posted)

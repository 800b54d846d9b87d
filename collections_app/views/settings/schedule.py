"""Set the schedule of a collection, or learn it from its runs."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from collections_app.models import Collection
from collections_app.models.expectations import remove_schedule, set_schedule
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.views.settings.forms import ScheduleForm
from collections_app.views.settings.page import settings_page


@collection_member(Action.MANAGE_COLLECTIONS)
@require_POST
def collection_schedule(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Save the schedule. Remove it if it is to be learned."""
    form = ScheduleForm(request.POST)
    if not (form.is_valid() and _is_saved(collection, form)):
        return settings_page(request, collection, schedule_form=form)
    messages.success(request, f"Saved the schedule of “{collection}”.")
    return redirect("collection_settings", collection.pk)


def _is_saved(collection: Collection, form: ScheduleForm) -> bool:
    """Save the form, and return whether it is valid. Otherwise, add the errors to the form."""
    if form.schedule is None:
        remove_schedule(collection)
        return True
    try:
        set_schedule(collection, **form.schedule)
    except ValidationError as error:
        form.add_error(None, error)
        return False
    return True

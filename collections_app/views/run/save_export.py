"""Save an export for all runs of a collection, and download it for one run."""

from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from collections_app.models import Collection
from collections_app.models.saved_exports import LONGEST_NAME, NotSaved, SavedExport
from collections_app.models.validators import NAME_VALIDATORS
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.records.exports.saved import create_saved, deliverable_of_saved, saved_export
from collections_app.records.exports.stored_spec import fields_of
from collections_app.views.exports import created, file_or_progress, posted_spec
from collections_app.views.run.export import export_page
from collections_app.views.run.lookup import find_ready_run


class SaveExportForm(forms.Form):
    """The name of a saved export."""

    name = forms.CharField(
        max_length=LONGEST_NAME,
        validators=NAME_VALIDATORS,
        error_messages={"required": "Enter a name for the saved export."},
    )


@collection_member(Action.SEE)
@require_POST
def run_export_save(request: MemberRequest, collection: Collection, number: int) -> HttpResponse:
    """Save the export in the form under its `name`."""
    run, form, spec = find_ready_run(collection, number), SaveExportForm(request.POST), posted_spec(request)
    try:
        if form.is_valid():
            saved = SavedExport.save_as(
                form.cleaned_data["name"], collection, request.user, **fields_of(spec)
            )
            messages.success(request, f"Saved “{saved}”. Find it in the Download menu of every run.")
            return redirect("run_export", collection.pk, number)
    except NotSaved as problem:
        form.add_error("name", str(problem))
    return export_page(request, run, spec=spec, save_form=form)


@collection_member(Action.SEE, is_file=True)
@require_safe
def run_saved_export(
    request: MemberRequest, collection: Collection, number: int, name: str
) -> HttpResponseBase:
    """Send a saved export of a run, or redirect to the page that shows its progress."""
    saved = saved_export(collection, name)
    if saved is None:
        raise Http404("This collection has no saved export with this name. It may have been deleted.")
    run = find_ready_run(collection, number)
    export = created(request, lambda: create_saved(run, saved))
    page = reverse("run_export", args=[collection.pk, number]) + f"?{urlencode({'saved': saved.file_name})}"
    return file_or_progress(request, export, page, lambda export: deliverable_of_saved(export, saved))

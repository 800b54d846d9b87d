"""Rename and delete the saved exports of a collection."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from collections_app.models import Collection, SavedExport
from collections_app.models.saved_exports import NotSaved
from collections_app.people.access import Action, MemberRequest, collection_member, may
from collections_app.records.exports.stored_spec import spec_of
from collections_app.views.exports import about, label_of
from collections_app.views.run.save_export import SaveExportForm


@collection_member(Action.SEE)
@require_POST
def saved_export_rename(request: MemberRequest, collection: Collection, export_id: int) -> HttpResponse:
    """Save a new `name`. The address of the export stays the same."""
    saved, form = _changeable(request, collection, export_id), SaveExportForm(request.POST)
    try:
        if form.is_valid():
            saved.rename(form.cleaned_data["name"])
            messages.success(request, f"Renamed to “{saved}”. Its address for scripts stays the same.")
        else:
            messages.error(request, str(form.errors["name"][0]))
    except NotSaved as problem:
        messages.error(request, str(problem))
    return _back(collection)


@collection_member(Action.SEE)
@require_POST
def saved_export_delete(request: MemberRequest, collection: Collection, export_id: int) -> HttpResponse:
    """Delete a saved export."""
    saved = _changeable(request, collection, export_id)
    saved.remove()
    messages.success(request, f"Deleted “{saved}”. Its address no longer works.")
    return _back(collection)


@dataclass(frozen=True)
class SavedLine:
    """A description of a saved export, its addresses, and whether the user may change it."""

    saved: SavedExport
    label: str
    about: str
    address: str
    api_address: str
    may_change: bool


def saved_lines(request: MemberRequest, collection: Collection) -> list[SavedLine]:
    """Return the saved exports of a collection for its settings."""
    return [
        _line(request, collection, each) for each in collection.saved_exports.select_related("created_by")
    ]


def _line(request: MemberRequest, collection: Collection, saved: SavedExport) -> SavedLine:
    spec, parts = spec_of(saved), [collection.pk, saved.file_name]
    return SavedLine(
        saved,
        label_of(spec),
        about(spec),
        f"{reverse('latest', args=[collection.pk])}exports/{saved.file_name}",
        reverse("api:latest_saved_export", args=parts),
        may_change=_may_change(request, saved),
    )


def _may_change(request: MemberRequest, saved: SavedExport) -> bool:
    """Whether the user may rename and delete a saved export: who created it, admins and owners."""
    return saved.created_by_id == request.user.pk or may(request.membership, Action.MANAGE_COLLECTIONS)


def _changeable(request: MemberRequest, collection: Collection, export_id: int) -> SavedExport:
    saved = get_object_or_404(collection.saved_exports, pk=export_id)
    if not _may_change(request, saved):
        raise PermissionDenied("Only admins and the person who saved this export can rename or delete it.")
    return saved


def _back(collection: Collection) -> HttpResponse:
    response = redirect("collection_settings", collection.pk)
    response["Location"] += "#saved-exports"
    return response

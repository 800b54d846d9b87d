"""Choose how many runs a collection keeps, with a preview of what would be deleted."""

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Collection
from collections_app.models.retention import (
    GRACE,
    Preview,
    leaving_of,
    preview,
    remove_retention,
    set_retention,
)
from collections_app.people.access import Action, MemberRequest, collection_member
from collections_app.system import database
from collections_app.views.page_size import PAGE_SIZE
from collections_app.views.settings.page import settings_page
from collections_app.views.settings.retention_form import RetentionForm
from collections_app.views.settings.words import kept


@collection_member(Action.MANAGE_COLLECTIONS)
@require_http_methods(["GET", "HEAD", "POST"])
def collection_retention(request: MemberRequest, collection: Collection) -> HttpResponse:
    """Show which runs the chosen setting would delete. On POST, save it if these are still the same runs."""
    form = RetentionForm(request.POST or request.GET)
    if not form.is_valid():
        return settings_page(request, collection, retention_form=form)
    if request.method != "POST":
        return _preview_page(request, collection, form)
    with transaction.atomic():
        is_current = _fingerprint(_preview(collection, form)) == request.POST.get("shown")
        if is_current:
            _save(request, collection, form)
    if not is_current:
        return _preview_page(request, collection, form, has_changed=True)
    messages.success(request, f"“{collection}” now {kept(form.retention(collection))}.")
    return redirect("collection_settings", collection.pk)


def _preview(collection: Collection, form: RetentionForm) -> Preview | None:
    retention = form.retention(collection)
    return preview(retention) if retention else None


def _fingerprint(shown: Preview | None) -> str:
    return shown.fingerprint if shown else ""


def _save(request: MemberRequest, collection: Collection, form: RetentionForm) -> None:
    retention = form.retention(collection)
    if retention is None:
        remove_retention(collection)
    else:
        set_retention(collection, retention.kind, retention.number, by=request.user)


def _preview_page(
    request: MemberRequest, collection: Collection, form: RetentionForm, *, has_changed: bool = False
) -> HttpResponse:
    shown = _preview(collection, form)
    context = {
        "collection": collection,
        "kept": kept(form.retention(collection)),
        "preview": shown,
        "fingerprint": _fingerprint(shown),
        "listed": shown.runs[:PAGE_SIZE] if shown else (),
        "unlisted": max(0, shown.count - PAGE_SIZE) if shown else 0,
        "delete_at": database.now() + GRACE,
        "leaving": leaving_of(collection),
        "values": form.cleaned_data,
        "has_changed": has_changed,
    }
    return render(request, "settings/retention.html", context, status=409 if has_changed else 200)

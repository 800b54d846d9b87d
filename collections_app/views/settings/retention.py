"""Choose how many runs a collection keeps, with a preview of what would be deleted."""

from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
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
from collections_app.views.download.cursor import format_cursor, parse_cursor
from collections_app.views.fragments import render_fragment
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
        "delete_at": database.now() + GRACE,
        "leaving": leaving_of(collection),
        "values": form.cleaned_data,
        "has_changed": has_changed,
    }
    if shown:
        context |= _listed(request, shown, form)
    response = render_fragment(request, "settings/retention.html", "settings/_retention_rows.html", context)
    response.status_code = 409 if has_changed else 200
    return response


def _listed(request: MemberRequest, shown: Preview, form: RetentionForm) -> dict[str, object]:
    """Return a page of the runs that would be deleted, and the address of the next page."""
    before = request.GET.get("before", "")
    runs = list(shown.runs.before(parse_cursor(before) if before else None)[: PAGE_SIZE + 1])
    listed, more = runs[:PAGE_SIZE], ""
    if len(runs) > PAGE_SIZE:
        more = f"?{urlencode(form.cleaned_data | {'before': format_cursor(listed[-1].cursor)})}"
    return {"listed": listed, "more": more}

"""The form of how many runs a collection keeps."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from collections_app.models import Collection, Retention
from collections_app.models.retention import MOST_DAYS, MOST_RUNS, RetentionKind
from collections_app.views.settings.forms import whole_number

ALL = "all"
_SUGGESTED = {"runs": 90, "days": 90}


class RetentionForm(forms.Form):
    """Everything, a number of runs, or a number of days."""

    kind = forms.ChoiceField(
        label="Keep",
        choices=[
            (ALL, "All runs"),
            (RetentionKind.RUNS, "The newest runs"),
            (RetentionKind.DAYS, "Runs from recent days"),
        ],
        widget=forms.RadioSelect,
    )
    runs = whole_number("Number of runs", MOST_RUNS, help_text="Failed and empty runs don't count.")
    days = whole_number("Number of days", MOST_DAYS, help_text="A day has 24 hours.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The settings page has another form with a kind.
        self.auto_id = "retention_%s"

    @staticmethod
    def initial_of(retention: Retention | None) -> dict[str, Any]:
        """Return the values of a setting, or a suggestion."""
        if retention is None:
            return {"kind": ALL} | _SUGGESTED
        return _SUGGESTED | {"kind": retention.kind, retention.kind: retention.number}

    def clean(self) -> dict[str, Any]:
        """Ignore the number of the other kind, which the page hides, and its errors."""
        kind = self.cleaned_data.get("kind", "")
        for name in {"runs", "days"} - {kind}:
            self.errors.pop(name, None)
            self.cleaned_data.pop(name, None)
        if kind in self.cleaned_data and self.cleaned_data[kind] is None:
            raise ValidationError({kind: f"Enter the number of {kind}."})
        return self.cleaned_data

    def retention(self, collection: Collection) -> Retention | None:
        """Return the chosen setting, unsaved, or None to keep everything. The form must be valid."""
        kind = self.cleaned_data["kind"]
        if kind == ALL:
            return None
        return Retention(collection=collection, kind=kind, number=self.cleaned_data[kind])

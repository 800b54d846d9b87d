"""Base classes of forms."""

from typing import Any

from django import forms
from django.http import HttpRequest, QueryDict


def posted(request: HttpRequest) -> QueryDict | None:
    """Return the form's data on POST, or None."""
    return request.POST if request.method == "POST" else None


class NameForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class can't be subscripted
    """A form with a name, which is a single line of text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "off"


class ChangeNameForm(NameForm):
    """A new name for an existing object. Save no other field: it may have changed since it was read."""

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        """Save the name."""
        super().save(commit=False)
        self.instance.save(update_fields=["name"])
        return self.instance

"""Base classes of forms. Text fields reject control characters, which no one types on purpose."""

import unicodedata
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import HttpRequest, QueryDict

# Includes characters that change the direction of text, which can make a name look like another.
no_control_characters = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
    "Remove line breaks and other control characters.",
    inverse_match=True,
)


def _visible(name: str) -> None:
    """Raise ValidationError for a name that consists of invisible characters."""
    if not any(unicodedata.category(letter)[0] in "LNPS" for letter in name):
        raise ValidationError("Enter a name with at least one visible character.")


def posted(request: HttpRequest) -> QueryDict | None:
    """Return the form's data on POST, or None."""
    return request.POST if request.method == "POST" else None


class NameForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class can't be subscripted
    """A form with a name, which is a single line of text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators += [no_control_characters, _visible]
        self.fields["name"].widget.attrs["autocomplete"] = "off"


class ChangeNameForm(NameForm):
    """A new name for an existing object. Save no other field: it may have changed since it was read."""

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        """Save the name."""
        super().save(commit=False)
        self.instance.save(update_fields=["name"])
        return self.instance

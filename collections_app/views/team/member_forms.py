"""The forms for members."""

from collections.abc import Iterable
from typing import Any

from django import forms

from collections_app.models import Role, User
from collections_app.models.validators import NAME_VALIDATORS


class RoleForm(forms.Form):
    """A role that the user may assign."""

    role = forms.ChoiceField(widget=forms.RadioSelect)

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(role.value, role.label) for role in roles]


class AddMemberForm(RoleForm):
    """A new member."""

    email = forms.EmailField(label="Email address", max_length=254)
    name = forms.CharField(
        required=False,
        max_length=100,
        validators=NAME_VALIDATORS,
        help_text="Used for new users. Existing users keep their name.",
    )

    field_order = ["email", "name", "role"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in ("email", "name"):
            self.fields[field].widget.attrs["autocomplete"] = "off"

    def clean_email(self) -> str:
        """Return the address in its stored form."""
        return User.objects.normalize_email(self.cleaned_data["email"])

"""What people fill in. Every field refuses control characters, which nobody types on purpose."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.http import HttpRequest, QueryDict

from collections_app.models import ApiKey, Collection, Role, User
from collections_app.models.collections import search_form

# Also those that turn the direction of the text around, which show a name as another one.
_no_control_characters = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
    "Leave out line breaks and other control characters.",
    inverse_match=True,
)


def _visible(name: str) -> None:
    """Raise ValidationError for a name of nothing but characters that nobody sees."""
    if not any(unicodedata.category(letter)[0] in "LNPS" for letter in name):
        raise ValidationError("Give a name that can be seen.")


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what was filled in, or None where the form is only shown."""
    return request.POST if request.method == "POST" else None


class NameForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own can't be subscripted
    """A form with a name that is one line of text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators += [_no_control_characters, _visible]
        self.fields["name"].widget.attrs["autocomplete"] = "off"


class CollectionNameForm(NameForm):
    """A name for a collection that no other one of its team has."""

    def clean_name(self) -> str:
        """Refuse the name of another collection, in any case."""
        name: str = self.cleaned_data["name"]
        others = self.instance.team.collections.exclude(pk=self.instance.pk)
        for other in others.filter(search_name=search_form(name)):
            # “Café” and “Cafe” are found alike, but they are two names.
            if other.name.casefold() == name.casefold():
                which = "an archived collection" if other.archived_at else "a collection"
                raise ValidationError(f"There is {which} named “{other}” already.")
        return name


class CollectionForm(CollectionNameForm):
    """A new collection."""

    class Meta:
        model = Collection
        fields = ["name", "kind"]
        error_messages = {"name": {"required": "Give the collection a name."}}
        help_texts = {"kind": "What the runs of this collection scrape. It can't be changed later."}


class _AnotherNameForm(NameForm):
    """Another name for what is there. Saves nothing else: the rest may have changed since it was read."""

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # as Django has it
        """Save the name."""
        super().save(commit=False)
        self.instance.save(update_fields=["name"])
        return self.instance


class RenameForm(CollectionNameForm, _AnotherNameForm):
    """Another name for a collection."""

    class Meta:
        model = Collection
        fields = ["name"]
        error_messages = {"name": {"required": "Give the collection a name."}}
        help_texts = {"name": "Files that exist already keep the names they were written under."}


class ProfileForm(_AnotherNameForm):
    """What a person is called."""

    class Meta:
        model = User
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "name"


class KeyForm(NameForm):
    """A new API key."""

    class Meta:
        model = ApiKey
        fields = ["name"]
        labels = {"name": "What the key is for"}
        error_messages = {"name": {"required": "Say what the key is for, such as “nightly import”."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Its page has another form with a name.
        super().__init__(*args, auto_id="key_%s", **kwargs)


class RoleForm(forms.Form):
    """A role in a team, out of those that the person may give."""

    role = forms.ChoiceField(widget=forms.RadioSelect)

    def __init__(self, *args: Any, roles: Iterable[Role], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(role.value, role.label) for role in roles]


class AddMemberForm(RoleForm):
    """Somebody to add to the team."""

    email = forms.EmailField(label="E-mail address", max_length=254)
    name = forms.CharField(
        required=False,
        max_length=100,
        validators=[_no_control_characters],
        help_text="For somebody new here; who has an account already keeps their name.",
    )

    field_order = ["email", "name", "role"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in ("email", "name"):
            self.fields[field].widget.attrs["autocomplete"] = "off"

    def clean_email(self) -> str:
        """Return the address as it is stored."""
        return User.objects.normalize_email(self.cleaned_data["email"])

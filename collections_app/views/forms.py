"""What people fill in. Every field refuses control characters, which nobody types on purpose."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.core.validators import RegexValidator
from django.http import HttpRequest, QueryDict

from collections_app.models import ApiKey, Collection, Role, User

_no_control_characters = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029]",
    "Leave out line breaks and other control characters.",
    inverse_match=True,
)


def posted(request: HttpRequest) -> QueryDict | None:
    """Return what was filled in, or None where the form is only shown."""
    return request.POST if request.method == "POST" else None


class _NameForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own can't be subscripted
    """A form with a name that is one line of text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].validators.append(_no_control_characters)
        self.fields["name"].widget.attrs["autocomplete"] = "off"


class CollectionForm(_NameForm):
    """A new collection."""

    class Meta:
        model = Collection
        fields = ["name", "kind"]
        error_messages = {"name": {"required": "Give the collection a name."}}
        help_texts = {"kind": "What the runs of this collection scrape. It can't be changed later."}


class RenameForm(_NameForm):
    """Another name for a collection."""

    class Meta:
        model = Collection
        fields = ["name"]
        error_messages = {"name": {"required": "Give the collection a name."}}
        help_texts = {"name": "Files that exist already keep the names they were written under."}


class ProfileForm(_NameForm):
    """What a person is called."""

    class Meta:
        model = User
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "name"


class KeyForm(_NameForm):
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

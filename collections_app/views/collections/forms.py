"""The forms for collections."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import Truncator

from collections_app.files.names import namesake
from collections_app.models import Account, Collection, Kind
from collections_app.people import access
from collections_app.people.access import Action, MemberRequest
from collections_app.views.forms import ChangeNameForm, NameForm

_NAME_REQUIRED = {"name": {"required": "Enter a name for the collection."}}
_LARGEST_ID = 2**63 - 1  # the limit of the database
# Each ID takes a request to the account.
MOST_IDS = 20
_LONGEST_LIST = 1000


class CollectionNameForm(NameForm):
    """A name that is unique among the team's collections."""

    def clean_name(self) -> str:
        """Reject the name of another collection, ignoring case and Unicode forms."""
        name: str = self.cleaned_data["name"]
        others = self.instance.team.collections.exclude(pk=self.instance.pk)
        other = namesake(name, others.named_similarly(name))
        if other is not None:
            which = "an archived collection" if other.archived_at else "a collection"
            raise ValidationError(f"Your team already has {which} named “{other}”.")
        return name


def is_saved(request: MemberRequest, form: CollectionNameForm) -> bool:
    """Save a posted form, and return whether it is valid. Two requests can't use the same name."""
    if not form.is_bound:
        return False
    with transaction.atomic():
        access.confirm(request, Action.MANAGE_COLLECTIONS)
        if is_valid := form.is_valid():
            form.save()
    return is_valid


class AddForm(CollectionNameForm):
    """A new collection."""

    class Meta:
        model = Collection
        fields = ["name", "kind"]
        error_messages = _NAME_REQUIRED
        help_texts = {"kind": "What this collection scrapes."}


class RenameForm(CollectionNameForm, ChangeNameForm):
    """A new name for a collection."""

    class Meta:
        model = Collection
        fields = ["name"]
        error_messages = _NAME_REQUIRED
        help_texts = {"name": "Existing files keep their names."}


class _AccountChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # as in forms.py
    def label_from_instance(self, obj: Any) -> str:
        return str(obj) if obj.is_connected else f"{obj} (disconnected)"


class ConnectForm(CollectionNameForm):
    """Collections of a MultiCartAPI account."""

    account = _AccountChoice(
        queryset=Account.objects.none(),
        empty_label=None,
        error_messages={
            "required": "Choose an account.",
            "invalid_choice": "Your team has no such account. It may have been removed.",
        },
    )
    remote_ids = forms.CharField(
        label="MultiCartAPI IDs",
        max_length=_LONGEST_LIST,
        help_text=f"The ID of one or more collections at MultiCartAPI, up to {MOST_IDS} at once.",
        error_messages={
            "required": "Enter the ID of a collection at MultiCartAPI.",
            "max_length": f"Enter up to {MOST_IDS} IDs at once.",
        },
        widget=forms.Textarea(attrs={"autocomplete": "off", "rows": 3, "placeholder": "101, 102"}),
    )
    kind = forms.ChoiceField(
        label="Type",
        required=False,
        choices=[("", "Detect from the runs"), *Kind.choices],
        help_text="What the collections scrape. You can correct it later in their settings.",
    )

    class Meta:
        model = Collection
        fields = ["name", "kind"]
        help_texts = {"name": "Leave empty to use the name from MultiCartAPI."}

    field_order = ["account", "remote_ids", "name", "kind"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].required = False
        self.initial["kind"] = ""
        field = self.fields["account"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = self.instance.team.accounts.order_by("name")

    def clean_remote_ids(self) -> list[int]:
        """Return the IDs, each once."""
        ids = dict.fromkeys(
            map(_remote_id, re.split(r"[\s,;]+", self.cleaned_data["remote_ids"].strip(",; ")))
        )
        if len(ids) > MOST_IDS:
            raise ValidationError(f"Enter up to {MOST_IDS} IDs at once.")
        return list(ids)

    def clean_name(self) -> str:
        """Reject the name of another collection. The name may be empty."""
        return super().clean_name() if self.cleaned_data["name"] else ""

    def clean(self) -> dict[str, Any]:
        """Reject a disconnected account, collections that were already added, and one name for several."""
        fields = self.cleaned_data
        account, ids = fields.get("account"), fields.get("remote_ids", ())
        if fields.get("name") and len(ids) > 1:
            self.add_error(
                "name", "Leave the name empty to add several collections. You can rename them later."
            )
        if account and not account.is_connected:
            self.add_error(
                "account", f"The account “{account}” is disconnected. Enter a new key for it under Accounts."
            )
        elif account:
            for other in account.collections.filter(remote_id__in=ids).order_by("remote_id"):
                which = "the archived collection" if other.archived_at else "the collection"
                self.add_error(
                    "remote_ids", f"Your team has already added {other.remote_id} as {which} “{other}”."
                )
        return fields


def _remote_id(text: str) -> int:
    """Return an ID at MultiCartAPI. Raises ValidationError."""
    if not re.fullmatch(r"-?[0-9]{1,40}", text, re.ASCII):
        raise ValidationError(f"“{Truncator(text).chars(40)}” isn't an ID. IDs at MultiCartAPI are numbers.")
    number = int(text)
    if number < 1:
        raise ValidationError("IDs at MultiCartAPI start at 1.")
    if number > _LARGEST_ID:
        raise ValidationError(f"The ID {number} is too large for MultiCartAPI.")
    return number
